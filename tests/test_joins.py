"""Skip connections: Add and Concatenate name layers before them, in models that are built, shared, saved and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest

from cnnlite import layers, models
from cnnlite.engine import stages
from cnnlite.layers import Add, Concatenate, Conv2D, Dense, Flatten, MaxPooling2D, Reshape, UpSampling2D


def u_net() -> models.Sequential:
    """Two levels, and a skip connection from the input."""
    return models.Sequential(
        [
            layers.Input((8, 8, 3)),
            Conv2D(4, 3, padding="same", activation="relu", name="encoded"),
            MaxPooling2D(2, name="pooled"),
            Conv2D(6, 3, padding="same", activation="relu", name="inner"),
            Conv2D(6, 3, padding="same", name="inner_2"),
            Add("inner", name="summed"),
            UpSampling2D(2, name="enlarged"),
            Concatenate("encoded", "input", name="joined"),
            Conv2D(1, 1, name="last"),
        ],
        name="u_net",
    )


def test_shapes_and_stages() -> None:
    model = u_net()
    assert [layer.output_shape for layer in model.layers[3:6]] == [(4, 4, 6), (4, 4, 6), (8, 8, 6)]
    assert model.get_layer("joined").output_shape == (8, 8, 13)
    assert model.output_shape == (8, 8, 1)
    found = stages.lower(model.layers)
    assert [type(stage).__name__ for stage in found] == [
        *("ConvStage", "PoolStage", "ConvStage", "ConvStage", "AddStage"),
        *("UpSamplingStage", "ConcatenateStage", "ConvStage"),
    ]  # the first convolution's output is read again: pooling is not in its loop
    add, joined = found[4], found[6]
    assert (add.sources, stages.numbers_of(found, add)) == (("inner",), [2])
    assert (joined.sources, stages.numbers_of(found, joined)) == (("encoded", "input"), [0, -1])
    assert joined.out_shape == (8, 8, 13)


def test_layers_in_the_place_of_names() -> None:
    image = layers.Input((8, 8, 3))
    first = Conv2D(3, 3, padding="same")
    model = models.Sequential([image, first, Conv2D(3, 1), Add(first, image), Concatenate(first)])
    assert model.layers[2].sources == (first.name, "input")
    assert model.layers[3].sources == (first.name,)
    assert model.output_shape == (8, 8, 6)


def test_a_layer_read_twice_and_the_one_right_before() -> None:
    model = models.Sequential([layers.Input((4,)), Dense(3, name="a"), Add("a"), Concatenate("a", "a")])
    assert model.output_shape == (9,)


def test_shapes_that_come_with_the_data() -> None:
    """Without an input shape nothing is known until the first batch; then all layers get theirs, or none does."""
    model = models.Sequential([Dense(5, name="a"), Dense(4), Add("input"), Concatenate("a")])
    assert model.output_shape is None
    with pytest.raises(
        ValueError, match=r"add.*: expected outputs of one shape to add, \(4,\) as .* got \(7,\) of input"
    ):
        model.build((7,))
    assert all(layer.input_shape is None for layer in model.layers)
    model.build((None, 4))
    assert model.output_shape == (9,)


def test_a_built_layer_behind_one_without_a_shape() -> None:
    """Its own shape is known, not the model's."""
    built = Dense(3)
    built.build((5,))
    model = models.Sequential([Dense(5), built, Dense(2)])
    assert model.input_shape is None
    model.build((4,))
    assert [layer.input_shape for layer in model.layers] == [(4,), (5,), (3,)]


def test_summary_shows_what_is_joined() -> None:
    lines: list[str] = []
    u_net().summary(print_fn=lines.append)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if line.startswith("│")]
    assert rows[0] == ["Layer (type)", "Output Shape", "Param #", "Connected to"]
    assert [row[3] for row in rows[1:]] == [
        *("input", "encoded", "pooled", "inner", "inner_2, inner"),
        *("summed", "enlarged, encoded, input", "joined"),
    ]
    assert len({len(line) for line in lines if line[0] in "┌│├└"}) == 1


def test_saved_models_join_the_same_layers(tmp_path: Path) -> None:
    model = u_net()
    again = models.Sequential.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    model.save(tmp_path / "model")
    loaded = models.load_model(tmp_path / "model")
    assert [layer.sources for layer in loaded.layers] == [layer.sources for layer in model.layers]
    assert loaded.get_layer("joined").output_shape == (8, 8, 13)
    assert networks.same(loaded.get_weights(), model.get_weights())
    x = networks.samples(model, 5)
    assert np.array_equal(loaded.predict(x), model.predict(x))


def test_numbers() -> None:
    """Exact integers: sums of the outputs that are named, and their channels in the order of the names."""
    one = {"kernel_initializer": "ones", "use_bias": False}
    model = models.Sequential(
        [
            layers.Input((1, 2, 1)),
            Conv2D(2, 1, name="a", **one),
            layers.Dense(1, name="b", **one),
            Add("input", name="c"),
            Concatenate("a", "input", "b", name="d"),
        ]
    )
    x = np.array([1.0, 10.0], np.float32).reshape(1, 1, 2, 1)
    assert model.predict(x)[0, 0].tolist() == [[3, 1, 1, 1, 2], [30, 10, 10, 10, 20]]
    outputs = model.forward(x, outputs=["c", "d"])
    assert outputs["c"].ravel().tolist() == [3, 30]
    grad = np.zeros((1, 1, 2, 5), np.float32)
    grad[..., :] = [1000, 100, 100, 10, 1]
    # through c: 1 + 2 for its path by b; a's two channels; the input itself; b, which is twice x
    assert model.backward({"d": grad}).ravel().tolist() == [3000 + 200 + 10 + 2] * 2


def test_layers_shared_by_models() -> None:
    """A join goes with the layers that it names; a model without them, or with others of their names, is refused."""
    model = u_net()
    other = models.Sequential([layers.Input((8, 8, 3)), *model.layers[:-1]])
    assert other.output_shape == (8, 8, 13)
    with pytest.raises(
        ValueError, match=r"expected summed to join layers .*, one of \['input', 'other'\], got 'inner'"
    ):
        models.Sequential([layers.Input((4, 4, 6)), Conv2D(6, 1, name="other"), model.get_layer("summed")])
    wrong = models.Sequential([layers.Input((8, 8, 4)), Conv2D(2, 1, name="encoded"), Conv2D(6, 1)])
    with pytest.raises(
        ValueError,
        match=r"joined: was built for inputs of shapes \(\(8, 8, 6\), \(8, 8, 4\), \(8, 8, 3\)\), got \(\(8, 8, 6\), \(8, 8, 2\), ",
    ):
        wrong.add(model.get_layer("joined"))


def test_what_is_popped_is_not_there_to_join() -> None:
    model = models.Sequential(
        [layers.Input((4,)), Dense(4, name="a"), Dense(4, name="b"), Add("a", name="c")]
    )
    assert model.pop().name == "c"
    assert model.pop().name == "b"
    model.add(Dense(4, name="d"))
    model.add(Add("a"))
    with pytest.raises(ValueError, match=r"one of \['input', 'a', 'd', 'add.*'\], got 'b'"):
        model.add(Add("b"))


def test_what_reshaping_layers_put_out_can_be_joined() -> None:
    """A source that has no stage of its own is the output of the stage before it."""
    model = models.Sequential(
        [
            layers.Input((4, 4, 2)),
            Conv2D(2, 1, name="a"),
            Reshape((2, 8, 2), name="b"),
            Conv2D(2, 1),
            Concatenate("b"),
        ]
    )
    model.build()
    found = stages.lower(model.layers)
    assert model.output_shape == (2, 8, 4)
    assert found[0].names == ("a", "b")
    assert stages.numbers_of(found, found[-1]) == [0]
    first = models.Sequential([layers.Input((2, 2)), Flatten(name="flat"), Dense(4), Add("flat")])
    first.build()
    found = stages.lower(first.layers)
    assert found[0].names == ("flat",)  # a stage that changes nothing, for the one who reads it
    assert stages.numbers_of(found, found[-1]) == [0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Add(), r'expected names of layers before it, say "conv2d", or the layers, got \(\)'),
        (lambda: Concatenate(3), r"expected names of layers before it, .* got \(3,\)"),
        (lambda: Add(["a", "b"]), r"expected names of layers before it, .* got \(\['a', 'b'\],\)"),
        (lambda: Concatenate("a", axis=1), "expected axis -1, the last one, got 1"),
        (lambda: Add("a", name="x").build((4,)), "x: expected to be a layer of a model, which has a before it; add it to one"),
        (lambda: models.Sequential([layers.Input((4,)), Add("later"), Dense(4, name="later")]),
         r"expected add.* to join layers that are there before it, one of \['input'\], got 'later'"),
        (lambda: models.Sequential([layers.Input((4,)), Add("self", name="self")]), r"one of \['input'\], got 'self'"),
        (lambda: models.Sequential([layers.Input((4,)), Dense(3), Add("input")]),
         r"expected outputs of one shape to add, \(3,\) as the layer before has, got \(4,\) of input"),
        (lambda: models.Sequential([layers.Input((4, 4, 2)), Conv2D(2, 3), Concatenate("input")]),
         r"expected outputs that differ in channels alone from \(2, 2, 2\), .* got \(4, 4, 2\) of input"),
        (lambda: models.Sequential([layers.Input((4,)), Dense(3, name="input")]),
         "'input' names what the network is given; give this layer another name"),
    ],
)  # fmt: skip
def test_refusals(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_refused_layer_leaves_the_model_as_it_was() -> None:
    model = models.Sequential([layers.Input((4,)), Dense(3, name="a")])
    with pytest.raises(ValueError, match="expected outputs of one shape"):
        model.add(Add("input"))
    assert [layer.name for layer in model.layers] == ["a"]
    assert model.predict(np.zeros((2, 4), np.float32)).shape == (2, 3)
