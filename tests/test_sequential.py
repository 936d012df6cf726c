"""Sequential: how it is put together, built, copied, and what it refuses."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import networks
import numpy as np
import pytest

import cnnlite
from cnnlite import layers, models

pytestmark = pytest.mark.usefixtures("seeded")


def test_four_ways_to_say_the_input_shape() -> None:
    with_argument = models.Sequential([layers.Conv2D(2, 3, input_shape=(6, 6, 1)), layers.Flatten()])
    with_input = models.Sequential([layers.Input(shape=(6, 6, 1)), layers.Conv2D(2, 3), layers.Flatten()])
    built = models.Sequential([layers.Conv2D(2, 3), layers.Flatten()])
    built.build((None, 6, 6, 1))
    by_data = models.Sequential()
    by_data.add(layers.Conv2D(2, 3))
    by_data.add(layers.Flatten())
    assert by_data.output_shape is None
    by_data.predict(np.zeros((1, 6, 6, 1)))
    for model in (with_argument, with_input, built, by_data):
        assert model.input_shape == (6, 6, 1)
        assert model.output_shape == (32,)
        assert model.count_params() == 20


def test_layers_by_name_and_index() -> None:
    model = models.Sequential([layers.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="b")])
    assert model.get_layer("b") is model.layers[1]
    assert model.get_layer(index=-2) is model.get_layer("a")
    with pytest.raises(ValueError, match=r"has no layer 'c'; it has \['a', 'b'\]"):
        model.get_layer("c")
    with pytest.raises(ValueError, match="expected an index below 2, got 2"):
        model.get_layer(index=2)


def test_layers_can_be_taken_off_and_put_on() -> None:
    model = networks.small()
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = networks.samples(model, 8)
    model.fit(x, np.zeros(8), verbose=0)
    kernel = model.layers[0].kernel.numpy()
    removed = model.pop()
    assert removed not in model.layers
    assert model.predict(x).shape == (8, 5)
    model.add(layers.Dense(7))
    assert model.predict(x).shape == (8, 7)
    assert np.array_equal(model.layers[0].kernel.value, kernel)


@pytest.mark.parametrize("shapes", [((4, 8, 8), (4, 8, 8, 1)), ((4, 8, 8, 1), (4, 30, 30, 1))])
def test_data_that_do_not_fit_do_not_spoil_the_model(shapes: Any) -> None:
    """A forgotten channel axis, or too small an image for the third layer: the next call may be right."""
    model = models.Sequential(
        [layers.Conv2D(2, 3), layers.MaxPooling2D(4), layers.Conv2D(2, 2), layers.Flatten(), layers.Dense(3)]
    )
    wrong, right = shapes
    if wrong[1:3] == right[1:3]:
        model.pop(), model.pop(), model.pop()
    with pytest.raises(ValueError, match=r"conv2d.*(add the channel axis|use a larger image)"):
        model.predict(np.zeros(wrong))
    assert model.predict(np.zeros(right)).shape[0] == 4


def test_first_weights_follow_the_seed() -> None:
    cnnlite.set_random_seed(5)
    first = networks.documented().get_weights()
    cnnlite.set_random_seed(5)
    assert networks.same(networks.documented().get_weights(), first)
    assert not networks.same(networks.documented().get_weights(), first)


def test_weights_of_all_layers() -> None:
    model = networks.small()
    arrays = [np.full(w.shape, i, np.float32) for i, w in enumerate(model.weights)]
    model.set_weights(arrays)
    assert networks.same(model.get_weights(), arrays)
    with pytest.raises(
        ValueError, match=r"set_weights expected dense.*/kernel of shape \(6, 5\), got \(5, 6\)"
    ):
        model.set_weights([arrays[0].T, *arrays[1:]])
    with pytest.raises(ValueError, match="set_weights expected 4 arrays, got 5"):
        model.set_weights([*arrays, arrays[0]])
    assert networks.same(model.get_weights(), arrays)
    assert networks.same(models.Sequential([layers.Dense(3)]).get_weights(), [])


def test_trainable() -> None:
    model = networks.small()
    model.layers[0].trainable = False
    assert model.trainable
    assert len(model.trainable_weights) == len(model.non_trainable_weights) == 2
    assert model.trainable_variables == model.trainable_weights
    assert model.variables == model.weights
    model.trainable = False
    assert not model.trainable
    assert model.trainable_weights == []


@pytest.mark.parametrize("name", ["flatten alone", "dropout alone"])
def test_networks_without_weights(name: str) -> None:
    model = networks.path(name)
    x = networks.samples(model, 5)
    assert np.array_equal(model.predict(x), x.reshape(5, -1))
    model.compile("sgd", "mse")
    assert model.evaluate(x, x.reshape(5, -1), verbose=0) == 0
    assert model.get_weights() == []


def test_a_layer_in_two_models_has_one_set_of_weights() -> None:
    shared = layers.Dense(4, name="shared")
    first = models.Sequential([layers.Input((6,)), shared, layers.Dense(2)])
    second = models.Sequential([layers.Input((6,)), shared, layers.Dense(3)])
    x = networks.samples(first, 3)
    first.predict(x), second.predict(x)
    shared.set_weights([np.zeros((6, 4)), np.zeros(4)])
    for model in (first, second):
        assert np.array_equal(model.predict(x), np.zeros((3, model.output_shape[0])))
    with pytest.raises(ValueError, match=r"shared: was built for inputs of shape \(6,\), got \(7,\)"):
        models.Sequential([layers.Input((7,)), shared])
    other = models.Sequential([layers.Input((6,)), shared], dtype="float64")
    with pytest.raises(ValueError, match="has dtype float64, but shared was built with another"):
        other.build()


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"]
)
def test_copies_are_models_of_their_own(how: Any) -> None:
    """Programs hold addresses of the weights: a copy must not have the original's."""
    model = networks.documented()
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    x, y = networks.samples(model, 20), np.arange(20) % 10
    model.fit(x, y, verbose=0)
    model.forward(x[:2])
    again = how(model)
    kept = model.get_weights()
    assert networks.same(again.get_weights(), kept)
    assert np.array_equal(again.predict(x), model.predict(x))
    cnnlite.set_random_seed(1)
    again.fit(x, y, epochs=2, verbose=0)
    assert networks.same(model.get_weights(), kept)
    cnnlite.set_random_seed(1)
    model.fit(x, y, epochs=2, verbose=0)
    assert networks.same(again.get_weights(), model.get_weights())


def test_prediction_from_several_python_threads() -> None:
    model = networks.documented()
    batches = [networks.samples(model, 24, seed) for seed in range(4)]
    wanted = [model.predict(x) for x in batches]
    wrong = []

    def work(number: int) -> None:
        for _ in range(15):
            if not np.array_equal(model.predict(batches[number]), wanted[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def refused() -> dict[str, tuple[Any, type[Exception], str]]:
    dense = layers.Dense
    sequential = models.Sequential
    return {
        "class": (lambda: sequential([layers.Flatten]), TypeError, r"got the class Flatten; call it: Flatten\(...\)"),
        "no list": (lambda: sequential(dense(2, name="a")), TypeError, r"expected a list of layers, got one layer; .*\[a\]"),
        "number": (lambda: sequential(3), TypeError, "expected a list of layers, got 3"),
        "a model": (lambda: sequential(networks.small()), TypeError, r"expected a list .*; a model.s are model\.layers\."),
        "two shapes": (
            lambda: sequential([layers.Input((4,)), dense(2, input_shape=(5,), name="a")]), ValueError,
            r"a: was given input_shape \(5,\), but its input has shape \(4,\)",
        ),
        "text": (lambda: sequential(["dense"]), TypeError, "expected a layer of cnnlite.layers, got str"),
        "model": (lambda: sequential([networks.small()]), TypeError, "got the model sequential.*; add its layers one by one"),
        "name twice": (lambda: sequential([dense(2, name="a"), dense(2, name="a")]), ValueError, "a layer named 'a' already"),
        "late input": (lambda: sequential([dense(2), layers.Input((3,))]), ValueError, "expected Input as the first entry only"),
        "too small": (lambda: sequential([layers.Input((2, 2, 1)), layers.Conv2D(1, 3)]), ValueError, "at least 3 x 3 pixels"),
        "empty": (lambda: sequential().build((3,)), ValueError, "has no layers; add some"),
        "pop": (lambda: sequential().pop(), ValueError, "has no layers"),
        "no shape": (lambda: sequential([dense(2)]).build(), ValueError, "the input shape is not known; begin with layers.Input"),
        "summary": (lambda: sequential([dense(2)]).summary(), ValueError, "the input shape is not known"),
        "half": (lambda: sequential(dtype="float16"), ValueError, "expected dtype 'float32' or 'float64', got 'float16'"),
        "no dtype": (lambda: sequential(dtype="floaty"), ValueError, "expected dtype 'float32' or 'float64', got 'floaty'"),
        "layer dtype": (lambda: sequential([dense(2, dtype="float64")]), ValueError, r'Sequential\(..., dtype="float64"\)'),
        "gpu": (lambda: sequential(device="cuda"), RuntimeError, 'expected a GPU for device "cuda"'),
        "device": (lambda: sequential(device="tpu"), ValueError, "got 'tpu'"),
        "seed": (lambda: cnnlite.set_random_seed(-1), ValueError, "set_random_seed: expected an integer of at least 0, got -1"),
        "threads": (lambda: cnnlite.set_num_threads(0), ValueError, "expected a positive integer"),
    }  # fmt: skip


@pytest.mark.parametrize("name", refused())
def test_refusals(name: str) -> None:
    call, error, message = refused()[name]
    with pytest.raises(error, match=message):
        call()


def test_repr_and_config() -> None:
    model = networks.documented(name="net")
    assert repr(model).startswith("<Sequential net: conv2d")
    again = models.Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert not networks.same(again.get_weights(), model.get_weights())
