"""`mixed_precision="bfloat16"`: what is asked for, kept, saved and refused; what it computes is in test_mixed_network.py."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import small_training

from cnnlite import models

pytestmark = [
    pytest.mark.usefixtures("seeded"),
    # where the processor has no instructions for it: all of this is the same there
    pytest.mark.filterwarnings("ignore:mixed_precision. expected a processor"),
]


def test_nothing_is_mixed_unless_asked_for() -> None:
    assert networks.small().mixed_precision is None
    assert small_training.compiled().mixed_precision is None


def test_a_model_and_compile_take_it() -> None:
    assert networks.small(mixed_precision="bfloat16").mixed_precision == "bfloat16"
    model = networks.small()
    model.compile("sgd", "mse", mixed_precision="bfloat16")
    assert model.mixed_precision == "bfloat16"


def test_compile_without_a_word_leaves_it() -> None:
    model = networks.small(mixed_precision="bfloat16")
    model.compile("sgd", "mse")
    assert model.mixed_precision == "bfloat16"
    model.mixed_precision = None
    assert model.mixed_precision is None


def test_setting_it_makes_other_programs() -> None:
    model = networks.small()
    before = model.network
    model.mixed_precision = None
    assert model.network is before, "nothing has changed"
    model.mixed_precision = "bfloat16"
    assert model.network is not before


REFUSED: dict[str, tuple[Any, str]] = {
    "another word": ("int8", r"""net: expected mixed_precision None or "bfloat16", got 'int8'\.$"""),
    "Keras's word": ("mixed_bfloat16", """got 'mixed_bfloat16'. Keras's policy "mixed_bfloat16" is "bfloat16" here"""),
    "float16": ("float16", "there is none of float16"),
    "float32": ("float32", "None computes in float32"),
    "no word": (16, "got 16"),
    "an array": (np.zeros(2), r"got array\(\[0., 0.\]\)"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused_words(what: str) -> None:
    word, message = REFUSED[what]
    model = networks.small(name="net", mixed_precision="bfloat16")
    with pytest.raises(ValueError, match=message):
        model.mixed_precision = word
    with pytest.raises(ValueError, match=message):
        model.compile("sgd", "mse", mixed_precision=word)
    assert model.optimizer is None, "a compile that fails changes nothing"
    with pytest.raises(ValueError, match="Sequential: expected mixed_precision"):
        networks.small(mixed_precision=word)
    assert model.mixed_precision == "bfloat16"


def test_a_compile_that_fails_for_another_reason_changes_nothing() -> None:
    model = networks.small()
    for wrong in ({"loss": "nonsense"}, {"loss": "mse", "metrics": ["nonsense"]}):
        with pytest.raises(ValueError, match="got 'nonsense'"):
            model.compile("sgd", mixed_precision="bfloat16", **wrong)
        assert (model.mixed_precision, model.optimizer, model.loss) == (None, None, None)


def test_float64_is_refused() -> None:
    message = 'expected dtype float32 for mixed_precision="bfloat16", got float64; leave out one of the two'
    with pytest.raises(TypeError, match=f"Sequential: {message}"):
        networks.small(dtype="float64", mixed_precision="bfloat16")
    model = networks.small(name="net", dtype="float64")
    with pytest.raises(TypeError, match=f"net: {message}"):
        model.compile("sgd", "mse", mixed_precision="bfloat16")
    assert model.optimizer is None


def test_unknown_arguments_of_compile_are_told_of_it() -> None:
    with pytest.raises(TypeError, match="it takes optimizer, loss, metrics and mixed_precision"):
        networks.small().compile("sgd", "mse", jit_compile=True)


def test_summary_says_so() -> None:
    lines: list[str] = []
    model = networks.small()
    model.summary(print_fn=lines.append)
    assert not any("bfloat16" in line for line in lines)
    model.mixed_precision = "bfloat16"
    model.summary(print_fn=lines.append)
    assert lines[-1] == "Mixed precision: products of bfloat16, weights and sums of float32"


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = small_training.compiled(mixed_precision="bfloat16")
    x, y = small_training.data()
    small_training.fit(model, x, y, epochs=2)
    model.save(tmp_path / "model")
    loaded = models.load_model(tmp_path / "model")
    assert loaded.mixed_precision == "bfloat16"
    assert networks.same([loaded.predict(x)], [model.predict(x)])
    assert networks.same(*([small_training.fit(each, x, y)["loss"]] for each in (model, loaded)))
    assert networks.same(model.get_weights(), loaded.get_weights())


def test_configurations_without_it_are_of_float32() -> None:
    config = networks.small().get_config()
    assert config["mixed_precision"] is None
    del config["mixed_precision"]
    assert models.Sequential.from_config(config).mixed_precision is None


def test_a_copy_keeps_it() -> None:
    model = networks.small(mixed_precision="bfloat16")
    x = networks.samples(model, 3)
    model.build()
    copied = copy.deepcopy(model)
    assert copied.mixed_precision == "bfloat16"
    assert networks.same([copied.predict(x)], [model.predict(x)])


def test_weights_and_the_optimizers_state_stay_float32() -> None:
    model = small_training.compiled(optimizer="adam", mixed_precision="bfloat16")
    x, y = small_training.data()
    small_training.fit(model, x, y)
    assert {array.dtype for array in model.get_weights()} == {np.dtype("float32")}
    assert model.optimizer is not None
    state = model.optimizer.state_of(model.weights[0])
    assert state is not None
    assert {slot.dtype for slot in state} == {np.dtype("float32")}
    kernel = model.get_weights()[0]
    assert np.any(kernel.view(np.uint32) & 0xFFFF), "weights with more digits than bfloat16 has"
    assert model.predict(x).dtype == np.float32
