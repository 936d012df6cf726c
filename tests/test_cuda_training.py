"""Training on a device ends with the CPU's weights: the whole documented network and others, in the interpreter of PTX."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import networks
import numpy as np
import pytest
from on_device import Counted, Trained, assert_close, device, train  # noqa: F401
from stand_in_driver import Driver

import cnnlite
from cnnlite import callbacks, layers, losses, models, optimizers
from cnnlite.engine.cuda import stage_backward
from cnnlite.layers import Activation, Conv2D, Dense, Flatten, MaxPooling2D
from cnnlite.models import steps
from cnnlite_kernels.cuda import gpu

pytestmark = pytest.mark.usefixtures("seeded", "device")
SPARSE = "sparse_categorical_crossentropy"
Batches = list[tuple[np.ndarray, np.ndarray]]


def labelled(shape: tuple[int, ...], classes: int, sizes: tuple[int, ...]) -> Batches:
    """Batches of random samples with random labels."""
    rng = np.random.default_rng(0)
    return [(rng.standard_normal((n, *shape)).astype(np.float32), rng.integers(0, classes, n)) for n in sizes]


def both(
    make: Callable[..., Any], optimizer: Any, loss: Any, batches: Batches, **arguments: Any
) -> tuple[Trained, Trained]:
    """Trains on the CPU and on the device and compares what was reported, the weights and the optimizer's state."""
    cpu = train(make, "cpu", optimizer, loss, batches, **arguments)
    gpu = train(make, "cuda", optimizer, loss, batches, **arguments)
    np.testing.assert_allclose(gpu.reported, cpu.reported, rtol=1e-4, atol=1e-6)
    assert_close(gpu.weights, cpu.weights)
    assert_close(gpu.state, cpu.state, 1e-3)
    return cpu, gpu


def test_a_step_of_the_documented_network() -> None:
    cpu, gpu = both(
        networks.documented,
        lambda: optimizers.SGD(0.1, momentum=0.9),
        SPARSE,
        labelled((28, 28, 1), 10, (3,)),
    )
    x, y = labelled((28, 28, 1), 10, (3,))[0]
    np.testing.assert_allclose(
        gpu.model.evaluate(x, y, verbose=0), cpu.model.evaluate(x, y, verbose=0), rtol=1e-4
    )


def test_the_comparison_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that is twice what it should be gives other weights."""
    add_bias_grad = stage_backward.gradients.add_bias_grad

    def wrong(plan: Any, grad: Any, grad_b: Any, rows: int, c: int) -> None:
        add_bias_grad(plan, grad, grad_b, rows, c)
        stage_backward.activations.add_sum(plan, grad_b, grad_b, c)

    monkeypatch.setattr(stage_backward.gradients, "add_bias_grad", wrong)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        both(networks.small, lambda: optimizers.SGD(0.1), SPARSE, labelled((6,), 3, (6,)))


def test_fit_with_dropout() -> None:
    """Orders, masks, and a last batch that is smaller; held out samples."""
    (x, y), (held_x, held_y) = labelled((12, 12, 2), 3, (7, 4))
    found = []
    for where in ("cpu", "cuda"):
        cnnlite.set_random_seed(3)
        model = networks.with_dropout(device=where)
        model.compile(optimizers.SGD(0.05), SPARSE, ["accuracy"])
        history = model.fit(x, y, batch_size=4, epochs=2, verbose=0, validation_data=(held_x, held_y)).history
        found.append((list(history), np.array(list(history.values())), model.get_weights()))
    cpu, gpu = found
    assert gpu[0] == cpu[0]
    np.testing.assert_allclose(gpu[1], cpu[1], rtol=1e-4)
    assert_close(gpu[2], cpu[2])


def test_fit_converts_a_batch_while_the_device_works_on_another(device: Counted) -> None:  # noqa: F811
    x, y = labelled((6,), 3, (12,))[0]
    model = train(networks.small, "cuda", optimizers.SGD, SPARSE, [(x[:4], y[:4])]).model
    device.forget()
    model.fit(x, y, batch_size=4, verbose=0)
    assert device.order == ["run", "run", "wait", "run", "wait", "wait"]
    device.forget()
    model.fit(
        x,
        y,
        batch_size=4,
        verbose=0,
        callbacks=[callbacks.LambdaCallback(on_train_batch_end=lambda *_: None)],
    )
    assert device.order == ["run", "wait"] * 3, "somebody looks at every batch"


def test_what_is_told_late_is_still_of_its_own_batch() -> None:
    """Whoever else trains the model meanwhile: the memory of two batches takes turns."""
    batches = labelled((6,), 3, (4, 4, 4, 4, 4))
    expected = train(networks.small, "cuda", optimizers.SGD, SPARSE, batches[:1] + batches).reported[1:]
    model = train(networks.small, "cuda", optimizers.SGD, SPARSE, batches[:1]).model
    begun = []
    for x, y in batches:
        rows = steps.Rows(x, y, None, slice(0, 4), 4)
        begun.append(model._begin_rows(rows, model._step("fit")))
    assert [values() for values in begun] == expected


def test_losses_of_an_epoch_are_waited_for_late() -> None:
    totals, asked = steps.Totals(["accuracy"]), []

    def later(number: int) -> list[float]:
        asked.append(number)
        return [float(number), 1.0]

    for number in range(3):
        totals.add(functools.partial(later, number), 2)
        assert asked == list(range(number))
    assert totals.values() == totals.values() == [1.0, 1.0]
    assert asked == [0, 1, 2]


OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.1),
    "momentum, clipnorm": lambda: optimizers.SGD(0.1, momentum=0.9, clipnorm=0.1),
    "nesterov, clipvalue": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True, clipvalue=0.01),
    "adam": lambda: optimizers.Adam(0.01),
    "adam, decay, global_clipnorm": lambda: optimizers.Adam(0.01, weight_decay=0.1, global_clipnorm=0.05),
    "rmsprop": lambda: optimizers.RMSprop(0.01),
    "rmsprop, all": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True, weight_decay=0.1),
    "schedule": lambda: optimizers.SGD(optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_and_limits(name: str) -> None:
    both(networks.small, OPTIMIZERS[name], SPARSE, labelled((6,), 3, (6, 6, 4)))


def ended(*last: Any) -> Callable[..., models.Sequential]:
    return lambda **arguments: models.Sequential(
        [layers.Input((5,)), Dense(4, "relu"), *[one() for one in last]], **arguments
    )


def shares(n: int = 5) -> Batches:
    """Samples with targets that add up to 1."""
    rng = np.random.default_rng(1)
    return [(rng.standard_normal((n, 5)).astype(np.float32), rng.dirichlet(np.ones(3), n).astype(np.float32))]


LOSSES = {
    "labels": (lambda: Dense(3, "softmax"), losses.SparseCategoricalCrossentropy(), labelled((5,), 3, (5, 5))),
    "logits": (lambda: Dense(3), losses.SparseCategoricalCrossentropy(from_logits=True), labelled((5,), 3, (5, 5))),
    "targets": (lambda: Dense(3, "softmax"), losses.CategoricalCrossentropy(), shares()),
    "binary": (lambda: Dense(3, "sigmoid"), losses.BinaryCrossentropy(), shares()),
    "binary logits": (lambda: Dense(3), losses.BinaryCrossentropy(from_logits=True), shares()),
    "squared": (lambda: Dense(3, "tanh"), losses.MeanSquaredError(), shares()),
    "sum": (lambda: Dense(3), losses.MeanSquaredError(reduction="sum"), shares()),
    "in Python": (lambda: Dense(3, "softmax"), losses.CategoricalCrossentropy(label_smoothing=0.2), shares()),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name: str) -> None:
    head, loss, batches = LOSSES[name]
    both(ended(head), lambda: optimizers.SGD(0.1), loss, batches)


def test_an_activation_of_its_own_at_the_end() -> None:
    head = (lambda: Dense(3), lambda: Activation("softmax"))
    both(ended(*head), lambda: optimizers.SGD(0.1), SPARSE, labelled((5,), 3, (4,)))


def test_convolutions_with_padding_strides_and_groups() -> None:
    def make(**arguments: Any) -> models.Sequential:
        return models.Sequential(
            [
                layers.Input((9, 8, 4)),
                Conv2D(8, 3, strides=2, padding="same", activation="tanh"),
                Conv2D(6, 2, groups=2, activation="relu"),
                MaxPooling2D(2, strides=1, padding="same"),
                Flatten(),
                Dense(1, activation="sigmoid"),
            ],
            **arguments,
        )

    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((5, 9, 8, 4)).astype(np.float32), rng.integers(0, 2, 5).astype(np.float32)
    both(make, lambda: optimizers.RMSprop(0.01), "binary_crossentropy", [(x, y)] * 2)


def penalised(**arguments: Any) -> models.Sequential:
    return models.Sequential(
        [
            layers.Input((6,)),
            Dense(40, kernel_regularizer="l1_l2", bias_regularizer="l2"),
            Dense(3, activation="softmax", kernel_regularizer="l1"),
        ],
        **arguments,
    )


def test_regularizers(device: Counted) -> None:  # noqa: F811
    """What they add to the loss is summed on the device: weights stay there."""
    _, gpu = both(penalised, lambda: optimizers.SGD(0.1), SPARSE, labelled((6,), 3, (6, 6)))
    x, y = labelled((6,), 3, (6,))[0]
    gpu.model.train_on_batch(x, y)
    device.forget()
    gpu.model.train_on_batch(x, y)
    assert (device.uploads, device.runs, device.downloads, device.allocations) == (1, 1, 1, 0)


def test_a_step_moves_a_batch_up_and_its_losses_down(device: Counted) -> None:  # noqa: F811
    x, y = labelled((6,), 3, (6,))[0]
    model = train(networks.small, "cuda", optimizers.Adam, SPARSE, [(x, y)]).model
    device.forget()
    for _ in range(3):
        model.train_on_batch(x, y, sample_weight=np.arange(6))
    assert (device.uploads, device.runs, device.downloads, device.allocations) == (3, 3, 3, 0)


def test_frozen_layers() -> None:
    def make(**arguments: Any) -> models.Sequential:
        model = networks.small(**arguments)
        model.layers[0].trainable = False
        return model

    _, gpu = both(make, lambda: optimizers.SGD(0.1), SPARSE, labelled((6,), 3, (5, 5)))
    fresh = train(make, "cpu", lambda: optimizers.SGD(0.1), SPARSE, labelled((6,), 3, (5,)))
    assert networks.same(gpu.weights[:2], fresh.weights[:2])


def test_layers_trained_in_turn() -> None:
    """The optimizer's state goes along where layers are frozen between steps, from a device's memory too."""

    def trained(place: str) -> list[np.ndarray]:
        cnnlite.set_random_seed(4)
        model = networks.small(device=place)
        model.compile(optimizers.Adam(0.05), SPARSE)
        rng = np.random.default_rng(5)
        for step in range(4):
            model.layers[0].trainable = step % 2 == 0
            model.train_on_batch(rng.standard_normal((4, 6)), rng.integers(0, 3, 4))
        return model.get_weights()

    assert_close(trained("cuda"), trained("cpu"))


def test_the_same_bits_every_time() -> None:
    runs = [
        train(networks.with_dropout, "cuda", optimizers.Adam, SPARSE, labelled((12, 12, 2), 3, (5, 3)))
        for _ in range(2)
    ]
    assert networks.same(runs[0].weights, runs[1].weights)
    assert runs[0].reported == runs[1].reported


def test_weights_of_samples() -> None:
    x, y = labelled((6,), 3, (6,))[0]
    found = []
    for where in ("cpu", "cuda"):
        cnnlite.set_random_seed(1)
        model = networks.small(device=where)
        model.compile("sgd", SPARSE, ["accuracy"])
        reported = [
            model.train_on_batch(x, y, sample_weight=np.linspace(0, 2, 6)),
            model.train_on_batch(x, y, class_weight={0: 3.0, 1: 1.0, 2: 0.5}),
            model.train_on_batch(x, y),
            model.test_on_batch(x, y, sample_weight=np.linspace(2, 0, 6)),
        ]
        found.append((np.array(reported), *model.get_weights()))
    assert_close(*found)


# moving, copying, saving, sharing


def step(model: models.Sequential) -> None:
    x, y = labelled((6,), 3, (6,))[0]
    model.train_on_batch(x, y)


def test_moving_a_model_in_the_middle_of_training() -> None:
    expected = train(
        networks.small, "cpu", lambda: optimizers.Adam(0.05), SPARSE, labelled((6,), 3, (6,)) * 4
    )
    model = train(networks.small, "cpu", lambda: optimizers.Adam(0.05), SPARSE, labelled((6,), 3, (6,))).model
    for where in ("cuda", "cpu", "cuda:1"):
        step(model.to(where))
    assert_close(model.get_weights(), expected.weights)
    assert model.optimizer.iterations == 4


def test_a_copy_and_a_saved_model_go_on_alike(tmp_path: Any) -> None:
    model = train(networks.small, "cuda", optimizers.Adam, SPARSE, labelled((6,), 3, (6, 6))).model
    copied = copy.deepcopy(model)
    model.save(tmp_path / "model")
    loaded = models.load_model(tmp_path / "model").to("cuda")
    for one in (model, copied, loaded):
        step(one)
    assert networks.same(copied.get_weights(), model.get_weights())
    assert networks.same(loaded.get_weights(), model.get_weights())
    for parameter, twin in zip(model.weights, loaded.weights, strict=True):
        assert networks.same(loaded.optimizer.state_of(twin), model.optimizer.state_of(parameter))


def test_assigned_weights_are_trained_on() -> None:
    model = train(networks.small, "cuda", optimizers.SGD, SPARSE, labelled((6,), 3, (6,))).model
    twin = train(networks.small, "cpu", optimizers.SGD, SPARSE, labelled((6,), 3, (6,))).model
    for one in (model, twin):
        one.set_weights([0.1 * np.ones(weights.shape) for weights in one.get_weights()])
        step(one)
    assert_close(model.get_weights(), twin.get_weights())


@pytest.mark.parametrize("places", [("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda:1")])
def test_models_that_share_layers(places: tuple[str, str]) -> None:
    """As a GAN's discriminator, trained by itself and frozen behind a generator."""

    def trained(first: str, second: str) -> list[np.ndarray]:
        cnnlite.set_random_seed(4)
        judge = [Dense(5, activation="relu", name="a"), Dense(1, activation="sigmoid", name="b")]
        alone = models.Sequential([layers.Input((6,)), *judge], device=first)
        alone.compile(optimizers.SGD(0.1, momentum=0.5), "binary_crossentropy")
        behind = models.Sequential([layers.Input((3,)), Dense(6, name="made"), *judge], device=second)
        behind.compile(optimizers.Adam(0.05), "binary_crossentropy")
        rng = np.random.default_rng(5)
        for _ in range(2):
            for layer in judge:
                layer.trainable = True
            alone.train_on_batch(rng.standard_normal((4, 6)), rng.integers(0, 2, (4, 1)))
            for layer in judge:
                layer.trainable = False
            behind.train_on_batch(rng.standard_normal((4, 3)), np.ones((4, 1)))
        return behind.get_weights()

    assert_close(trained(*places), trained("cpu", "cpu"))


# by hand


def test_a_training_loop_of_ones_own(device: Counted) -> None:  # noqa: F811
    """Forward, a gradient, backward, apply: the step is taken where the gradients are."""
    x = np.random.default_rng(6).standard_normal((4, 6)).astype(np.float32)
    found = []
    for where in ("cpu", "cuda"):
        cnnlite.set_random_seed(7)
        model = networks.small(device=where)
        optimizer = optimizers.SGD(0.1, momentum=0.9, clipnorm=0.5)
        for number in range(3):
            device.forget()
            model.zero_gradients()
            y = model.forward(x, training=True)
            model.backward(y - 0.5)
            optimizer.apply(model.trainable_weights)
            if number and where == "cuda":
                assert (device.runs, device.downloads, device.allocations) == (3, 2, 0)
        found.append([*model.get_weights(), *model.gradients])
    assert_close(*found)


def test_gradients_that_the_host_changes_before_the_step() -> None:
    x = np.random.default_rng(6).standard_normal((4, 6)).astype(np.float32)
    found = []
    for where in ("cpu", "cuda"):
        cnnlite.set_random_seed(7)
        model = networks.small(device=where)
        y = model.forward(x)
        model.zero_gradients()
        model.backward(y)
        for parameter in model.weights:
            parameter.gradient[...] *= 0.25
        optimizers.SGD(0.5).apply(model.weights)
        found.append(model.get_weights())
    assert_close(*found)


def test_the_gpus_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """gpu.Gpu, its memory, copies, graphs and events, over a stand-in for the driver: a step is one graph, and asks for no memory."""
    driver = Driver()
    monkeypatch.setattr(gpu, "binary", driver.binary)
    found = gpu.Gpu(0, driver)
    monkeypatch.setattr(gpu, "current", lambda number=0: found)
    _, trained = both(
        penalised, lambda: optimizers.Adam(0.01, clipnorm=0.1), SPARSE, labelled((6,), 3, (5, 5))
    )
    x, y = labelled((6,), 3, (5,))[0]
    driver.calls.clear()
    trained.model.train_on_batch(x, y)
    asked = [name for name in driver.calls if not name.startswith(("cuCtx", "cuEventDestroy"))]
    assert asked == [
        "cuMemcpyHtoDAsync",
        "cuGraphLaunch",
        "cuMemcpyDtoHAsync",
        "cuEventCreate",
        "cuEventRecord",
        "cuEventSynchronize",
    ]
    model = networks.small(device="cuda")
    y = model.forward(x)
    model.zero_gradients()
    model.backward(y)
    optimizers.SGD(0.1).apply(model.weights)
    assert_close([model.predict(x)], [copy.deepcopy(model).to("cpu").predict(x)])
