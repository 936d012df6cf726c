"""fit, evaluate, predict and single batches: what they take, return and repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
from small_training import N, compiled, data, endless, fit

import cnnlite
from cnnlite import callbacks, layers, losses, metrics, models, optimizers

pytestmark = pytest.mark.usefixtures("seeded")


# what data may look like


def forms_of_x() -> dict[str, Any]:
    x = (data()[0] * 20).astype(np.int8).astype(np.float32)
    read_only = x.copy()
    read_only.flags.writeable = False
    odd = np.frombuffer(b"?" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    return {
        "float64": x.astype(np.float64),
        "int8": x.astype(np.int8),
        "big endian": x.astype(">f4"),
        "list": x.tolist(),
        "Fortran": np.asfortranarray(x),
        "reversed twice": x[::-1].copy()[::-1],
        "every other": np.repeat(x, 2, axis=0)[::2],
        "read only": read_only,
        "misaligned": odd,
        "float16": x.astype(np.float16),
    }  # fmt: skip


@pytest.mark.parametrize("form", forms_of_x())
def test_the_form_of_x_does_not_matter(form: str) -> None:
    x, y = (data()[0] * 20).astype(np.int8).astype(np.float32), data()[1]
    plain, other = compiled(), compiled()
    wanted = fit(plain, x, y, epochs=2)
    given = forms_of_x()[form]
    assert fit(other, given, y, epochs=2) == wanted
    assert networks.same(plain.get_weights(), other.get_weights())
    assert np.array_equal(other.predict(given), plain.predict(x))
    assert other.evaluate(given, y, verbose=0) == plain.evaluate(x, y, verbose=0)


@pytest.mark.parametrize(
    "form", [list, lambda y: y[:, None], lambda y: y.astype(float), lambda y: y.astype(np.uint8)]
)
def test_the_form_of_labels_does_not_matter(form: Any) -> None:
    x, y = data()
    plain, other = compiled(), compiled()
    assert fit(plain, x, y) == fit(other, x, form(y))


def test_memory_mapped_images(tmp_path: Path) -> None:
    """A file of uint8 that is never read whole."""
    images = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (40, 8, 8, 1))
    images[:] = np.random.default_rng(0).integers(0, 256, images.shape)
    model = models.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(2)]
    )
    model.compile("sgd", losses.SparseCategoricalCrossentropy(from_logits=True))
    read = np.load(tmp_path / "x.npy", mmap_mode="r")
    before = model.get_weights()
    model.fit(read, np.arange(40) % 2, verbose=0)
    trained = model.get_weights()
    model.set_weights(before)
    cnnlite.set_random_seed(3)
    model.fit(read, np.arange(40) % 2, verbose=0)
    again = model.get_weights()
    model.set_weights(before)
    cnnlite.set_random_seed(3)
    model.fit(np.array(images, np.float32), np.arange(40) % 2, verbose=0)
    assert networks.same(model.get_weights(), again)
    assert not networks.same(trained, before)


def test_one_hot_is_the_same_as_labels() -> None:
    x, y = data()
    sparse, dense = compiled(), compiled("categorical_crossentropy")
    wanted, given = fit(sparse, x, y, epochs=3), fit(dense, x, np.eye(3)[y], epochs=3)
    assert given["accuracy"] == wanted["accuracy"]
    assert given["loss"] == pytest.approx(wanted["loss"], rel=1e-6)


@pytest.mark.parametrize("loss", ["binary_crossentropy", "mse"])
def test_targets_without_their_axis_of_one(loss: str) -> None:
    """(n,) and (n, 1) are the same, also where metrics of one's own see them: no table of all pairs."""
    x, y = data()
    target = (y > 1).astype(np.float32)
    for more in ((), [lambda y_true, y_pred: np.abs(y_true - y_pred)]):
        flat = fit(compiled(loss, outputs=1, activation="sigmoid", more=more), x, target, epochs=2)
        column = fit(compiled(loss, outputs=1, activation="sigmoid", more=more), x, target[:, None], epochs=2)
        assert flat == column


def test_float64_models() -> None:
    model = networks.small(dtype="float64")
    model.compile(optimizers.Adam(0.1), "sparse_categorical_crossentropy", ["accuracy"])
    x, y = data()
    assert fit(model, x, y, epochs=30)["accuracy"][-1] > 0.9
    assert model.predict(x).dtype == np.float64
    assert {w.dtype for w in model.get_weights()} == {np.dtype("float64")}


# epochs and batches


@pytest.mark.parametrize("batch_size", [1, 7, 32, 50, 64])
def test_batches_of_any_size(batch_size: int) -> None:
    """The last one may be smaller; the epoch's loss counts each sample once."""
    x, y = data()
    model = compiled(optimizer=optimizers.SGD(0.0))
    history = model.fit(x, y, batch_size=batch_size, verbose=0).history
    assert history["loss"][0] == pytest.approx(model.evaluate(x, y, verbose=0)[0], rel=1e-6)
    assert model.optimizer.iterations == -(-N // batch_size)


def test_shuffle() -> None:
    """A new order each epoch, the same for the same seed; without it, the order of the arrays."""
    x, y = data()

    def trained(seed: int, shuffle: bool) -> list[np.ndarray]:
        model = compiled()
        cnnlite.set_random_seed(seed)
        model.fit(x, y, epochs=2, batch_size=8, shuffle=shuffle, verbose=0)
        return model.get_weights()

    assert networks.same(trained(1, True), trained(1, True))
    assert not networks.same(trained(1, True), trained(2, True))
    assert networks.same(trained(1, False), trained(2, False))
    model = compiled()
    for _ in range(2):
        for start in range(0, N, 8):
            model.train_on_batch(x[start : start + 8], y[start : start + 8])
    assert networks.same(model.get_weights(), trained(1, False))


def test_validation_split_is_the_last_share() -> None:
    x, y = data()
    split, given = compiled(), compiled()
    wanted = fit(split, x, y, epochs=2, validation_split=0.3)
    assert fit(given, x[:35], y[:35], epochs=2, validation_data=(x[35:], y[35:])) == wanted
    assert list(wanted) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert [wanted["val_loss"][-1], wanted["val_accuracy"][-1]] == split.evaluate(x[35:], y[35:], verbose=0)


def test_validation_weights_batches_steps_and_frequency() -> None:
    x, y = data()
    weights = np.linspace(0, 2, N)
    model = compiled()
    tested: list[int] = []
    watch = callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: tested.append(batch))
    history = model.fit(
        x, y, epochs=4, validation_data=(x, y, weights), validation_batch_size=10, validation_steps=3, validation_freq=2,
        verbose=0, callbacks=[watch],
    ).history  # fmt: skip
    assert tested == [0, 1, 2] * 2
    assert len(history["val_loss"]) == 2
    assert history["val_loss"][-1] == model.evaluate(x[:30], y[:30], sample_weight=weights[:30], verbose=0)[0]
    named = model.fit(x, y, epochs=4, validation_data=(x, y), validation_freq=[1, 4], verbose=0)
    assert len(named.history["val_loss"]) == 2


def test_initial_epoch() -> None:
    x, y = data()
    model = compiled()
    history = model.fit(x, y, epochs=5, initial_epoch=3, verbose=0)
    assert history.epoch == [3, 4]
    assert model.history is history
    assert model.fit(x, y, epochs=5, initial_epoch=5, verbose=0).history == {}
    assert model.fit(x, y, epochs=0, verbose=0).history == {}


def test_sample_and_class_weights() -> None:
    """The loss is the weighted sum over the number of samples; class weights are sample weights by class, and both multiply."""
    x, y = data()
    weights = np.random.default_rng(1).uniform(0, 2, N)
    by_class = {0: 3.0, 1: 0.5}  # class 2 weighs 1
    model = compiled()
    each = losses.SparseCategoricalCrossentropy().per_sample(y, model.predict(x))
    assert model.evaluate(x, y, sample_weight=weights, verbose=0)[0] == pytest.approx(
        (each * weights).sum() / N, rel=1e-6
    )
    both = weights * np.array([3.0, 0.5, 1.0])[y]
    plain, other = compiled(), compiled()
    wanted = fit(plain, x, y, sample_weight=both, epochs=2)
    given = fit(other, x, y, sample_weight=weights, class_weight=by_class, epochs=2)
    assert given["loss"] == pytest.approx(wanted["loss"], rel=1e-6)
    one_hot = compiled("categorical_crossentropy")
    given = fit(one_hot, x, np.eye(3)[y], sample_weight=weights, class_weight=by_class, epochs=2)
    assert given["loss"] == pytest.approx(wanted["loss"], rel=1e-6)
    single = compiled().train_on_batch(x, y, sample_weight=weights, class_weight=by_class)
    assert single[0] == pytest.approx((each * both).sum() / N, rel=1e-6)


def test_generators() -> None:
    x, y = data()
    arrays, stream = compiled(), compiled()
    wanted = arrays.fit(x, y, batch_size=10, epochs=3, shuffle=False, verbose=0).history
    given = stream.fit(
        endless(), steps_per_epoch=5, epochs=3, verbose=0, validation_data=endless(), validation_steps=5
    ).history
    assert given["loss"] == wanted["loss"]
    assert stream.evaluate(endless(), steps=5, verbose=0) == pytest.approx(
        arrays.evaluate(x, y, verbose=0), rel=1e-6
    )
    predicted = stream.predict((batch for batch, _ in endless()), steps=5)
    assert np.array_equal(predicted, arrays.predict(x))


def test_a_sequence_of_batches() -> None:
    class Batches:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int):
            x, y = data()
            return x[index * 10 :][:10], y[index * 10 :][:10], np.ones(10)

    x, y = data()
    arrays, sequence = compiled(), compiled()
    wanted = arrays.fit(x, y, batch_size=10, epochs=2, shuffle=False, verbose=0).history
    assert sequence.fit(Batches(), epochs=2, shuffle=False, verbose=0).history == wanted
    assert networks.same(arrays.get_weights(), sequence.get_weights())


def test_steps_per_epoch_of_arrays_go_on_where_they_stopped() -> None:
    x, y = data()
    model, other = compiled(), compiled()
    model.fit(x, y, batch_size=10, steps_per_epoch=2, epochs=5, shuffle=False, verbose=0)
    other.fit(x, y, batch_size=10, epochs=2, shuffle=False, verbose=0)
    assert networks.same(model.get_weights(), other.get_weights())


def test_an_exhausted_generator_ends_training() -> None:
    x, y = data()
    model = compiled()
    with pytest.warns(UserWarning, match="the data ran out in epoch 2"):
        history = model.fit(
            ((x[i : i + 10], y[i : i + 10]) for i in (0, 10, 20)), steps_per_epoch=2, epochs=9, verbose=0
        )
    assert len(history.epoch) == 2


# single batches and evaluation


def test_returned_values() -> None:
    x, y = data()
    with_metric, without = compiled(), compiled(more=())
    for call in (with_metric.train_on_batch, with_metric.test_on_batch):
        loss, accuracy = call(x, y)
        assert type(loss) is type(accuracy) is float
    assert type(without.train_on_batch(x, y)) is float
    assert type(without.test_on_batch(x, y)) is float
    assert type(without.evaluate(x, y, verbose=0)) is float
    assert list(with_metric.test_on_batch(x, y, return_dict=True)) == ["loss", "accuracy"]
    assert list(with_metric.evaluate(x, y, verbose=0, return_dict=True)) == ["accuracy", "loss"]
    assert list(with_metric.train_on_batch(x, y, return_dict=True)) == ["loss", "accuracy"]
    assert with_metric.metrics_names == ["loss", "accuracy"]


def test_train_on_batch_reports_what_was_before_the_step() -> None:
    x, y = data()
    model = compiled()
    before = model.test_on_batch(x, y)
    assert model.train_on_batch(x, y) == pytest.approx(before)
    assert model.test_on_batch(x, y)[0] < before[0]


def test_evaluate_changes_nothing_and_any_batch_size_gives_the_same() -> None:
    x, y = data()
    model = compiled()
    before = model.get_weights()
    values = [model.evaluate(x, y, batch_size=size, verbose=0) for size in (1, 7, 32, 64)]
    assert networks.same(before, model.get_weights())
    assert model.optimizer.iterations == 0
    for value in values[1:]:
        assert value == pytest.approx(values[0], rel=1e-6)
    assert model.evaluate(x, y, batch_size=10, steps=2, verbose=0) == pytest.approx(
        model.evaluate(x[:20], y[:20], verbose=0)
    )


def test_predict_on_batch_and_calling_the_model() -> None:
    x, _ = data()
    model = compiled()
    assert np.array_equal(model.predict_on_batch(x), model.predict(x))
    assert np.array_equal(model(x), model.predict(x))
    assert np.array_equal(model.predict_on_batch(x.tolist()), model.predict(x))
    assert model.predict(x[:0]).shape == (0, 3)
    assert model.predict([]).shape == (0, 3)


def test_regularizers_count_where_weights_are_trained() -> None:
    """In every loss that is reported, training and evaluation; a frozen layer's penalty is none, as in Keras."""
    x, y = data()
    model = models.Sequential(
        [layers.Input((6,)), layers.Dense(3, activation="softmax", kernel_regularizer="l2")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    penalty = 0.01 * float(np.square(model.get_weights()[0]).sum())
    loss = losses.SparseCategoricalCrossentropy()(y, model.predict(x))
    assert model.evaluate(x, y, verbose=0) == pytest.approx(loss + penalty, rel=1e-6)
    assert model.test_on_batch(x, y) == pytest.approx(loss + penalty, rel=1e-6)
    assert model.train_on_batch(x, y) == pytest.approx(loss + penalty, rel=1e-6)
    model.layers[0].trainable = False
    assert model.evaluate(x, y, verbose=0) == pytest.approx(
        losses.SparseCategoricalCrossentropy()(y, model.predict(x)), rel=1e-6
    )


# losses and metrics of one's own


def quartic(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return ((y_pred - y_true) ** 2).mean(axis=-1), 2 * (y_pred - y_true) / y_pred.shape[-1]


class Squared(losses.Loss):
    def call(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return quartic(y_true, y_pred)[0]

    def gradient(self, y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return quartic(y_true, y_pred)[1]


@pytest.mark.parametrize(
    ("pixels", "last"), [((2,), layers.Flatten()), ((), layers.Dropout(0.5))], ids=["reshaped", "dropped"]
)
def test_a_softmax_that_is_not_the_end(pixels: tuple[int, ...], last: layers.Layer) -> None:
    """The loss takes its probabilities: behind it come longer rows, or some of them are dropped in training."""
    model = models.Sequential(
        [layers.Input((*pixels, 3)), layers.Dense(4, activation="softmax"), last], dtype="float64"
    )
    model.compile("sgd", "categorical_crossentropy")
    x = networks.samples(model, 5)
    y = np.eye(*model.output_shape)[[0, 1, 2, 3, 0]]
    wanted = losses.CategoricalCrossentropy()(y, model.predict(x))
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0), wanted, rtol=1e-12)
    step = model.train_on_batch(x, y)
    assert np.isfinite(step)
    assert (step == pytest.approx(wanted)) == isinstance(last, layers.Flatten)


@pytest.mark.parametrize("loss", [quartic, Squared(), Squared])
def test_losses_of_ones_own_train_like_ours(loss: Any) -> None:
    x, y = data()
    ours, own = compiled("mse", "adam", ()), compiled(loss, "adam", ())
    wanted = fit(ours, x, np.eye(3)[y], epochs=3)["loss"]
    assert fit(own, x, np.eye(3)[y], epochs=3)["loss"] == pytest.approx(wanted, rel=1e-5)
    assert own.evaluate(x, np.eye(3)[y], verbose=0) == pytest.approx(
        ours.evaluate(x, np.eye(3)[y], verbose=0), rel=1e-5
    )


def test_metrics_of_ones_own_change_no_step() -> None:
    """The path through Python takes the same steps, to rounding, and leaves gradients that the user has added up alone."""
    x, y = data()

    def confidence(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return y_pred.max(axis=-1)

    plain, other = compiled(optimizer="adam"), compiled(optimizer="adam", more=["accuracy", confidence])
    for model in (plain, other):
        model.zero_gradients()
        for parameter in model.weights:
            parameter.gradient[...] = 7
    wanted, given = fit(plain, x, y, epochs=3), fit(other, x, y, epochs=3)
    assert list(given) == ["accuracy", "confidence", "loss"]
    assert given["accuracy"] == wanted["accuracy"]
    assert given["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    for model in (plain, other):
        assert all((gradient == 7).all() for gradient in model.gradients)
    mean = other.evaluate(x, y, verbose=0)[-1]
    assert mean == pytest.approx(float(other.predict(x).max(axis=1).mean()), rel=1e-6)
    named = compiled(more=[metrics.Metric(confidence, "sure")])
    assert named.metrics_names == ["loss", "sure"]


def test_a_model_all_of_whose_layers_are_frozen() -> None:
    x, y = data()
    model = compiled()
    model.trainable = False
    before = model.get_weights()
    assert model.fit(x, y, verbose=0).history["loss"][0] == pytest.approx(
        model.evaluate(x, y, verbose=0)[0], rel=1e-6
    )
    assert networks.same(model.get_weights(), before)


def test_the_progress_bar_and_the_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = data()
    model = compiled()
    model.fit(x, y, verbose=0)
    assert capsys.readouterr().out == ""
    model.fit(x, y, epochs=2, verbose=2)
    printed = capsys.readouterr().out
    assert printed.startswith("Epoch 1/2\n2/2 - ")
    assert " - accuracy: " in printed
    model.evaluate(x, y, verbose=2)
    assert capsys.readouterr().out.startswith("2/2 - ")
    model.predict(x)
    assert capsys.readouterr().out == ""
