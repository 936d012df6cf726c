"""Winograd's algorithm: exact where it can be, within the error that is stated where it cannot, on every way through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import cases
import numpy as np
import pytest
from cases import ConvCase
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import CUT_CONVS, DTYPES, draw_integers, draw_normals, nans, variants
from strategies import conv_cases

import cnnlite_kernels as kernels
from cnnlite_kernels import reference
from cnnlite_kernels.cpu.ops import winograd
from cnnlite_kernels.cpu.winograd_matrices import matrices

ALGORITHMS = ("winograd2x2", "winograd")
WAYS = {"many tiles": 0, "few tiles": 1 << 30}


def fits(case: ConvCase) -> bool:
    return (case.kernel, case.strides, case.dilation, case.groups) == ((3, 3), (1, 1), (1, 1), 1)


SMALL = [
    *(case for case in (*cases.ODD, *cases.DOCUMENTED) if isinstance(case, ConvCase) and fits(case)),
    ConvCase("no_pixel_of_some_patches", 2, 2, 3, 5, 6, (3, 3), padding=((7, 3), (2, 8))),
    ConvCase("one_pixel", 1, 1, 1, 3, 4, (3, 3), padding="same"),
    ConvCase("tiles_that_fit", 2, 8, 16, 16, 32, (3, 3), padding="same"),
    ConvCase("wide_last_block", 1, 9, 10, 70, 130, (3, 3), padding=((1, 0), (2, 1))),
]
LARGE = [
    *(case for case in CUT_CONVS if fits(case)),
    ConvCase("pieces_of_weights", 1, 14, 13, 150, 200, (3, 3), padding="same"),
    ConvCase("parts_of_tiles", 1, 40, 39, 140, 40, (3, 3)),
]


@contextmanager
def way(few_tiles: int) -> Iterator[None]:
    """Whether the weights or the tiles are transformed first, whatever the shapes say."""
    before = winograd.FEW_TILES, winograd.FEW_TILES_HEAVY
    winograd.FEW_TILES = winograd.FEW_TILES_HEAVY = few_tiles
    winograd._convolution.cache_clear()
    try:
        yield
    finally:
        winograd.FEW_TILES, winograd.FEW_TILES_HEAVY = before
        winograd._convolution.cache_clear()


def both_passes(
    case: ConvCase, dtype: type, algorithm: str, draw=draw_integers, seed: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(found, expected) of the forward pass and of the input's gradient; what is not written is NaN."""
    rng = np.random.default_rng(seed)
    x, w, b, grad_y = (
        draw(rng, shape, dtype) for shape in (case.x_shape, case.w_shape, (case.cout,), case.y_shape)
    )
    options = {**case.options, "algorithm": algorithm}
    y = kernels.conv2d(x, w, b, activation="relu", out=nans(case.y_shape, dtype), **options)
    yield y, reference.conv2d(x, w, b, activation="relu", **case.options)
    grad_x = kernels.conv2d_grad_input(grad_y, w, case.x_shape, out=nans(case.x_shape, dtype), **options)
    yield grad_x, reference.conv2d_grad_input(grad_y, w, case.x_shape, **case.options)


def assert_integers(case: ConvCase, dtype: type, algorithm: str, seed: int = 0) -> None:
    """2 x 2 tiles need halves and quarters, so every sum is exact; what 4 x 4 tiles give is nearest to the right integer."""
    for found, expected in both_passes(case, dtype, algorithm, seed=seed):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found if algorithm == "winograd2x2" else np.rint(found), expected)


@pytest.mark.parametrize("tile", [2, 4])
def test_the_matrices_make_a_convolution(tile: int) -> None:
    """The plain formula, y = A^T ((G g G^T) * (B^T d B)) A."""
    of_input, of_weights, of_output = map(np.array, matrices(tile))
    rng = np.random.default_rng(tile)
    d, g = rng.standard_normal((tile + 2, tile + 2)), rng.standard_normal((3, 3))
    y = of_output @ ((of_weights @ g @ of_weights.T) * (of_input @ d @ of_input.T)) @ of_output.T
    expected = reference.conv2d(d[None, :, :, None], g[:, :, None, None])[0, :, :, 0]
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_integers(case: ConvCase, first: str, algorithm: str, dtype: type) -> None:
    with way(WAYS[first]):
        assert_integers(case, dtype, algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("case", LARGE, ids=str)
def test_integers_where_the_work_is_cut(case: ConvCase, first: str, algorithm: str) -> None:
    with way(WAYS[first]):
        assert_integers(case, np.float32, algorithm)


@settings(max_examples=60, deadline=None)
@given(
    conv_cases(max_kernel=1, max_strides=1, max_dilation=1, max_groups=1, max_channels=40, slack=12),
    st.sampled_from(ALGORITHMS),
    st.sampled_from(sorted(WAYS)),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32 - 1),
)
def test_any_geometry(case: ConvCase, algorithm: str, first: str, dtype: type, seed: int) -> None:
    case = replace(case, kernel=(3, 3), h=case.h + 2, w=case.w + 2)
    with way(WAYS[first]):
        assert_integers(case, dtype, algorithm, seed)


@pytest.mark.parametrize(("cin", "cout"), [(0, 3), (3, 0)])
def test_no_channels(cin: int, cout: int) -> None:
    for found, expected in both_passes(ConvCase("none", 2, 5, 5, cin, cout, (3, 3)), np.float32, "winograd"):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("algorithm", "rms", "largest"),
    [("direct", 1e-6, 2e-5), ("winograd2x2", 1e-6, 1e-5), ("winograd", 2e-6, 3e-5)],
)
def test_the_error_is_what_the_docstring_says(algorithm: str, rms: float, largest: float) -> None:
    """In units of y's standard deviation, 256 channels; the docstring gives these figures."""
    rng = np.random.default_rng(0)
    x, w = draw_normals(rng, (4, 28, 28, 256), np.float32), draw_normals(rng, (3, 3, 256, 32), np.float32)
    expected = kernels.conv2d(x.astype(float), w.astype(float), padding="same")
    error = (kernels.conv2d(x, w, padding="same", algorithm=algorithm) - expected) / expected.std()
    assert np.sqrt(np.mean(error**2)) < rms
    assert abs(error).max() < largest


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "tanh"])
def test_float64_and_activations(activation: str | None, algorithm: str) -> None:
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape) for shape in ((2, 12, 11, 20), (3, 3, 20, 37), (37,)))
    y = kernels.conv2d(x, w, b, padding="same", activation=activation, algorithm=algorithm)
    expected = reference.conv2d(x, w, b, padding="same", activation=activation)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_seen_wherever_the_direct_algorithm_sees_them(
    value: float, algorithm: str
) -> None:
    x, w = np.ones((1, 13, 13, 6), np.float32), np.ones((3, 3, 6, 6), np.float32)
    x[0, 6, 7, 2] = value
    for activation in (None, "relu"):
        y = kernels.conv2d(x, w, activation=activation, padding="same", algorithm=algorithm)
        direct = kernels.conv2d(x, w, activation=activation, padding="same")
        assert not np.isfinite(y[~np.isfinite(direct)]).any()
        np.testing.assert_allclose(y[:, :4], direct[:, :4], rtol=1e-5)  # other tiles


def test_any_layout_of_the_operands() -> None:
    rng = np.random.default_rng(0)
    x, w = draw_integers(rng, (2, 7, 6, 5), np.float32), draw_integers(rng, (3, 3, 5, 7), np.float32)
    y = kernels.conv2d(x, w, algorithm="winograd2x2")
    for x2, w2 in zip(variants(x), variants(w), strict=True):
        np.testing.assert_array_equal(kernels.conv2d(x2, w2, algorithm="winograd2x2"), y)


X, W = np.ones((2, 9, 9, 4), np.float32), np.ones((3, 3, 4, 6), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: kernels.conv2d(X, W, algorithm="fft"),
            r'^conv2d: expected algorithm "direct", "winograd" or "winograd2x2", got \'fft\'; leave it out for the direct one\.$',
        ),
        (
            lambda: kernels.conv2d_grad_input(X, W, (2, 9, 9, 4), algorithm=None),
            r"^conv2d_grad_input: expected algorithm .* got None",
        ),
        (
            lambda: kernels.conv2d(X, W, algorithm="winograd", strides=2),
            r"^conv2d: expected a 3 x 3 window, strides 1, dilation 1 and groups=1 for algorithm='winograd', got a window of \(3, 3\), "
            r"strides \(2, 2\), dilation \(1, 1\) and groups=1; leave algorithm out\.$",
        ),
        (
            lambda: kernels.conv2d(X, W, algorithm="winograd2x2", dilation=(1, 2)),
            r"^conv2d: expected a 3 x 3 window, .* for algorithm='winograd2x2', got .* dilation \(1, 2\)",
        ),
        (
            lambda: kernels.conv2d(X, W[:, :, :2], algorithm="winograd", groups=2),
            "^conv2d: expected a 3 x 3 window, .* and groups=2; leave algorithm out",
        ),
        (
            lambda: kernels.conv2d_grad_input(
                np.ones((2, 8, 9, 6), np.float32), W[:2], X.shape, padding=((0, 0), (1, 1)), algorithm="winograd"
            ),
            r"^conv2d_grad_input: expected a 3 x 3 window, .* got a window of \(2, 3\)",
        ),
        (
            lambda: kernels.conv2d(X, W, algorithm="winograd", device="cuda"),
            r'^conv2d: expected arrays in the host.s memory and no GPU for algorithm="winograd", which only the CPU has, got device '
            r'"cuda:0"; leave algorithm out there\.$',
        ),
        (
            lambda: kernels.conv2d(X, W, algorithm="winograd", device="tpu"),
            '^conv2d: expected device None, "auto", "cpu"',
        ),
        (
            lambda: kernels.explain("conv2d", X.shape, W.shape, algorithm="fft"),
            '^explain: expected algorithm "direct", "winograd"',
        ),
        (
            lambda: kernels.explain("conv2d", X.shape, W.shape, algorithm="winograd", strides=2),
            "^conv2d: expected a 3 x 3 window",
        ),
        (
            lambda: kernels.explain("matmul", (2, 3), (3, 4), algorithm="winograd"),
            "^explain: expected algorithm \"direct\" for matmul, got 'winograd'; only conv2d and conv2d_grad_input have others",
        ),
    ],
)  # fmt: skip
def test_what_it_cannot_do(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_auto_leaves_it_to_the_cpu_and_explain_says_so() -> None:
    y = kernels.conv2d(X, W, algorithm="winograd2x2", device="auto")
    np.testing.assert_array_equal(y, kernels.conv2d(X, W))
    told = kernels.explain("conv2d", X.shape, W.shape, algorithm="winograd")
    assert told.device == "cpu"
    assert told.reason == "only the CPU has this algorithm"
    assert told.work.operations == 2 * 2 * (2 * 2) * 36 * 4 * 6  # 2 images of 2 x 2 tiles
    turned = kernels.explain("conv2d_grad_input", (2, 7, 7, 6), W.shape, X.shape, algorithm="winograd2x2")
    assert turned.work.operations == 2 * 2 * (5 * 5) * 16 * 4 * 6
