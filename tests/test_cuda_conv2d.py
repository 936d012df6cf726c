"""conv2d and its gradients on CUDA against the reference: the compiled PTX of every kernel, interpreted."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install cnnlite[cuda]")

import cases
from cases import ConvCase
from cuda_convs import assert_equal_to_reference, run, with_bias
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import Interpreted
from op_operands import assert_close, draw_normals
from strategies import conv_cases

DEVICE = Interpreted()

DOCUMENTED = tuple(c.with_batch(2) for c in cases.DOCUMENTED if isinstance(c, ConvCase))
# Layers of ResNet-50 on smaller images: the stem, both kinds of strides, and a sum of 4,608 terms.
RESNET = (
    ConvCase("stem", 1, 20, 22, 3, 64, (7, 7), (2, 2), ((3, 3), (3, 3))),
    ConvCase("1x1", 1, 6, 5, 64, 32, (1, 1)),
    ConvCase("3x3", 1, 9, 10, 64, 64, (3, 3), padding="same"),
    ConvCase("3x3_stride2", 1, 10, 9, 64, 128, (3, 3), (2, 2), ((1, 1), (1, 1))),
    ConvCase("1x1_stride2", 2, 8, 7, 64, 64, (1, 1), (2, 2)),
    ConvCase("3x3_deep", 1, 3, 3, 512, 64, (3, 3), padding="same"),
)
# Where four numbers are taken at a time: edges of tiles in rows, columns and channels; groups; images smaller than a step.
WIDE = (
    ConvCase("columns_past_the_tile", 1, 6, 6, 8, 36, (3, 3), padding="same"),
    ConvCase("dilation_strides_pads", 2, 9, 8, 16, 40, (3, 2), (2, 1), ((1, 2), (0, 3)), (1, 2)),
    ConvCase("strides_larger_than_kernel", 2, 9, 8, 8, 8, (2, 1), (3, 3)),
    ConvCase("groups", 1, 6, 5, 32, 48, (3, 3), padding="same", groups=2),
    ConvCase("images_of_one_pixel", 5, 2, 2, 8, 16, (3, 3), padding=((1, 0), (1, 0))),
    ConvCase("depthwise", 2, 7, 6, 36, 36, (3, 3), (2, 1), "same", groups=36),
    ConvCase("channels_not_of_eight", 1, 6, 5, 12, 20, (3, 3), padding="same"),
)


@pytest.mark.parametrize("aligned", [True, False], ids=["aligned", "unaligned"])
@pytest.mark.parametrize("case", [*cases.ODD, *DOCUMENTED, *RESNET, *WIDE], ids=str)
def test_integers_equal_reference(case: ConvCase, aligned: bool) -> None:
    assert_equal_to_reference(DEVICE, case, aligned=aligned)


# A product, sums that are cut, pixels that no window looks at, tiles that are aligned and that are not.
BIASED = (
    RESNET[1],
    RESNET[5],
    *WIDE[1:3],
    WIDE[6],
    ConvCase("odd", 2, 5, 7, 3, 5, (2, 3), (3, 2), ((1, 0), (2, 1))),
)


@pytest.mark.parametrize("case", BIASED, ids=str)
def test_a_bias_of_the_gradient_of_the_input(case: ConvCase) -> None:
    """As a transposed convolution has it."""
    with_bias(DEVICE, case)


@settings(max_examples=25, deadline=None)
@given(conv_cases(max_batch=2, slack=4), st.integers(0, 2**32 - 1))
def test_any_geometry_equals_reference(case: ConvCase, seed: int) -> None:
    assert_equal_to_reference(DEVICE, case, seed)


@settings(max_examples=15, deadline=None)
@given(conv_cases(max_batch=2, max_channels=4, slack=4), st.integers(0, 2**32 - 1))
def test_any_geometry_of_many_channels_equals_reference(case: ConvCase, seed: int) -> None:
    many = ConvCase(
        "many", case.n, case.h, case.w, 8 * case.cin, 8 * case.cout, case.kernel, case.strides, case.padding, case.dilation,
        case.groups,
    )  # fmt: skip
    assert_equal_to_reference(DEVICE, many, seed)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("cin", [3, 16])
def test_normals_are_close_to_reference(activation: str | None, cin: int) -> None:
    case = ConvCase("normals", 1, 8, 7, cin, 36, (3, 3), padding="same")
    found = run(DEVICE, case, draw_normals, activation=activation)
    assert_close(found.y, found.want.y, 9 * cin)
    assert_close(found.grad_x, found.want.grad_x, 9 * 36)
    assert_close(found.grad_w, found.want.grad_w, 8 * 7)


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("cin", [3, 8, 16])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_reach_exactly_the_outputs_that_see_them(
    value: float, cin: int, groups: int
) -> None:
    if cin % groups:
        groups = cin
    case = ConvCase("nan", 1, 9, 9, cin, 2 * cin, (3, 3), padding="same", groups=groups)

    def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        array = np.ones(shape, dtype)
        if shape == case.x_shape:
            array[0, 4, 5, 2] = value
        return array

    found = run(DEVICE, case, draw, activation="relu", passes="y")
    np.testing.assert_array_equal(found.y, found.want.y)


@pytest.mark.parametrize(
    "case",
    [
        ConvCase("stride_1", 1, 6, 7, 8, 8, (3, 3), padding=((2, 0), (0, 2))),
        ConvCase("stride_2", 1, 7, 6, 8, 16, (3, 3), (2, 2), "same"),
        ConvCase("narrow", 1, 6, 7, 3, 8, (3, 3), padding="same"),
        ConvCase("depthwise", 1, 6, 7, 8, 8, (3, 3), padding="same", groups=8),
    ],
    ids=str,
)
def test_nothing_around_an_image_is_read(case: ConvCase) -> None:
    """NaN before and behind the arrays: where padding is, memory is another image's, or nobody's."""
    assert_equal_to_reference(DEVICE, case, margin=4096)


@pytest.mark.parametrize("cin", [3, 16])
def test_no_images_make_gradients_of_zero(cin: int) -> None:
    case = ConvCase("empty", 0, 6, 6, cin, 16, (3, 3))
    found = run(DEVICE, case)
    assert found.y.size == found.grad_x.size == 0
    assert not found.grad_w.any()


@pytest.mark.parametrize(("cin", "cout"), [(0, 3), (3, 0)])
def test_no_channels(cin: int, cout: int) -> None:
    assert_equal_to_reference(DEVICE, ConvCase("none", 2, 5, 5, cin, cout, (3, 3)))


def test_long_sums_are_cut_and_give_the_same_bits_again() -> None:
    case = ConvCase("deep", 1, 4, 4, 256, 32, (3, 3), padding="same")
    first, again = (run(DEVICE, case, draw_normals) for _ in range(2))
    for a, b in zip(first[:3], again[:3], strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(name == "reduce" for name in first.kernels)


@pytest.mark.parametrize("capability", [(7, 5), (9, 0), (12, 0)])
def test_the_ptx_of_other_gpus(capability: tuple[int, int]) -> None:
    device = Interpreted(capability)
    assert_equal_to_reference(device, WIDE[1])
    assert_equal_to_reference(device, RESNET[0])
