"""Convolution to few channels by lanes of its input, and a transposed convolution's bias, against the reference: exact integers."""

from __future__ import annotations

import numpy as np
import pytest

from cnnlite_kernels import reference
from cnnlite_kernels.cpu import few_channels, few_outputs
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import pointer_to
from cnnlite_kernels.cpu.plan import Job, Part, Plan
from cnnlite_kernels.cpu.sparse import add_turned_weights
from cnnlite_kernels.window import Window2D

CASES = [
    ((7, 9, 16), (3, 3), (1, 1), "same", 3),
    ((6, 5, 7), (2, 3), (1, 2), "valid", 1),
    ((5, 4, 20), (1, 1), (1, 1), "valid", 4),
    ((8, 6, 5), (3, 5), (2, 1), ((2, 0), (1, 3)), 2),
    ((1, 1, 45), (1, 1), (1, 1), "valid", 1),
    ((4, 4, 9), (4, 4), (1, 1), "valid", 3),
]


def integers(*shape: int, dtype: type) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-4, 5, shape).astype(dtype)


def images(array: np.ndarray) -> Images:
    return Images(pointer_to(array), *array.shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [1, 5])
def test_forward_and_gradient_of_the_weights(case: tuple, n: int, dtype: type) -> None:
    size, kernel, strides, padding, cout = case
    conv = Conv(Window2D.of(kernel, strides, (1, 1), padding), *size, cout)
    x, w = integers(n, *size, dtype=dtype), integers(*kernel, size[-1], cout, dtype=dtype)
    bias, grad_y = integers(cout, dtype=dtype), integers(n, *conv.output, cout, dtype=dtype)
    y, turned = np.full(grad_y.shape, np.nan, dtype), np.full(w.size, np.nan, dtype)
    grad_w, twice = np.full(w.shape, np.nan, dtype), w.copy()
    plan = Plan(x.itemsize)
    add_turned_weights(plan, conv, pointer_to(w), pointer_to(turned))
    few_outputs.add_forward(plan, conv, images(x), pointer_to(turned), pointer_to(bias), images(y))
    for to, accumulate in ((grad_w, False), (twice, True)):
        few_outputs.add_grad_weights(plan, conv, images(x), images(grad_y), pointer_to(to), accumulate)
    Job([[Part(plan)]]).run()
    arguments = {"strides": strides, "padding": padding}
    assert np.array_equal(y, reference.conv2d(x, w, bias, **arguments))
    wanted = reference.conv2d_grad_weights(x, grad_y, w.shape, **arguments)
    assert np.array_equal(grad_w, wanted)
    assert np.array_equal(twice, wanted + w)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cin", [1, 3])
def test_bias_of_a_transposed_convolution_to_few_channels(cin: int, dtype: type) -> None:
    conv = Conv(Window2D.of(4, 2, (1, 1), "same"), 10, 8, cin, 6)
    w, bias = integers(4, 4, cin, 6, dtype=dtype), integers(cin, dtype=dtype)
    grad_y = integers(3, *conv.output, 6, dtype=dtype)
    grad_x = np.full((3, 10, 8, cin), np.nan, dtype)
    plan = Plan(w.itemsize)
    few_channels.add_grad_input(plan, conv, images(grad_y), pointer_to(w), images(grad_x), pointer_to(bias))
    Job([[Part(plan)]]).run()
    wanted = reference.conv2d_transpose(grad_y, w, bias, y_size=(10, 8), strides=2, padding="same")
    assert np.array_equal(grad_x, wanted)


def test_where_it_is_taken() -> None:
    def better(cin: int, cout: int, dilation: int = 1, groups: int = 1) -> bool:
        return few_outputs.is_better(Conv(Window2D.of(3, 1, dilation), 9, 9, cin, cout, groups))

    assert better(16, 3)
    assert not better(16, 16)  # outputs enough
    assert not better(1, 1)  # too few numbers side by side
    assert not better(16, 3, dilation=2)
    assert not better(16, 2, groups=2)
