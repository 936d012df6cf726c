"""Regularizers: value and gradient of Keras's penalties, names, configs, bad factors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cnnlite import regularizers
from cnnlite.regularizers import L1, L1L2, L2, Regularizer

W = np.array([[1, -2], [0, 3]], np.float32)


@pytest.mark.parametrize(
    ("regularizer", "value", "gradient"),
    [
        (L1(0.5), 3.0, [[0.5, -0.5], [0, 0.5]]),
        (L2(0.5), 7.0, [[1, -2], [0, 3]]),
        (L1L2(0.25, 0.5), 8.5, [[1.25, -2.25], [0, 3.25]]),
        (L1L2(), 0.0, [[0, 0], [0, 0]]),
    ],
    ids=repr,
)
def test_value_and_gradient(regularizer, value, gradient):
    assert regularizer.value(W) == value
    assert type(regularizer.value(W)) is float
    np.testing.assert_array_equal(regularizer.gradient(W), gradient)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradient_keeps_dtype_and_shape(dtype):
    gradient = L1L2(0.1, 0.2).gradient(np.zeros((2, 0, 3), dtype))
    assert gradient.dtype == dtype
    assert gradient.shape == (2, 0, 3)


def test_gradient_is_the_derivative():
    w = np.random.default_rng(0).normal(size=(3, 4))
    regularizer = L1L2(0.3, 0.7)
    step = 1e-6
    for index in np.ndindex(w.shape):
        shift = np.zeros_like(w)
        shift[index] = step
        slope = (regularizer.value(w + shift) - regularizer.value(w - shift)) / (2 * step)
        # values are near 10: each is rounded by about 1e-15, which the division by 2e-6 turns into 1e-9
        assert regularizer.gradient(w)[index] == pytest.approx(slope, abs=1e-8)


def test_values_are_summed_in_float64():
    w = np.full(2**25, 1, np.float32)
    w[0] = 2**24
    assert L1(1.0).value(w) == 2**24 + 2**25 - 1


@pytest.mark.parametrize(
    ("identifier", "l1", "l2"),
    [("l1", 0.01, 0), ("L1", 0.01, 0), ("l2", 0, 0.01), ("l1_l2", 0.01, 0.01), (L2(0.1), 0, 0.1)],
)
def test_names(identifier, l1, l2):
    regularizer = regularizers.get(identifier)
    assert (regularizer.l1, regularizer.l2) == (l1, l2)


def test_functions_and_none():
    assert regularizers.l2(0.1).l2 == 0.1
    assert regularizers.l1_l2(l2=0.1).get_config() == {"l1": 0.01, "l2": 0.1}
    assert regularizers.get(None) is None
    assert regularizers.serialize(None) is None


@pytest.mark.parametrize("regularizer", [L1(0.1), L2(0.2), L1L2(0.1, 0.2), regularizers.l1_l2()], ids=repr)
def test_configs_survive_json(regularizer):
    again = regularizers.get(json.loads(json.dumps(regularizers.serialize(regularizer))))
    assert type(again) is type(regularizer)
    assert repr(again) == repr(regularizer)
    assert isinstance(again, Regularizer)


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_factors_are_finite_and_not_negative(bad):
    with pytest.raises(ValueError, match=r"L2: expected l2 of 0 or more, got"):
        L2(bad)


@pytest.mark.parametrize("bad", ["0.1", None, [0.1], True])
def test_factors_are_numbers(bad):
    with pytest.raises(TypeError, match=r"L1L2: expected l1 to be a number, got"):
        L1L2(l1=bad)


@pytest.mark.parametrize("bad", ["l3", {"class_name": "L3"}])
def test_an_unknown_name(bad):
    with pytest.raises(ValueError, match=r"expected a regularizer 'l1', 'l2' or 'l1_l2', got"):
        regularizers.get(bad)


@pytest.mark.parametrize("bad", [0.01, L2, lambda w: 0.0])
def test_what_is_no_regularizer(bad):
    with pytest.raises(TypeError, match=r"expected a regularizer as a name or an object, got"):
        regularizers.get(bad)
