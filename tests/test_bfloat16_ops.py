"""conv2d, its gradients and matmul on the CPU with set_matmul_precision("bfloat16")."""

from __future__ import annotations

import cases
import numpy as np
import pytest
from bfloat16_host import asked, everywhere, needs_bfloat16, rounded  # noqa: F401
from cases import ConvCase, MatmulCase
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from op_operands import CUT_CONVS, draw_integers, draw_normals, nans
from strategies import conv_cases, matmul_cases
from test_conv2d import assert_equal_to_reference, operands

import cnnlite_kernels as kernels
from cnnlite_kernels import precision, reference
from cnnlite_kernels.cpu import bfloat16_pays, threads
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.host import Host
from cnnlite_kernels.cpu.matmul import Product
from cnnlite_kernels.cpu.ops import bfloat16_conv2d, bfloat16_matmul
from cnnlite_kernels.window import Window2D

WIDE = ConvCase("wide", 2, 14, 13, 48, 80, (3, 3), padding="same")
PRODUCT = Product(300, 130, 700)


def close_to(actual: np.ndarray, expected: np.ndarray, magnitude: np.ndarray, terms: int) -> None:
    """Equal but for float32's rounding of `terms` additions to sums of at most `magnitude`."""
    assert np.all(np.abs(actual - expected) <= (terms + 4) * 2.0**-24 * magnitude + 1e-30)


# Integers from -4 to 4 are bfloat16 already and their sums exact: rounding must not show.


@needs_bfloat16
@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("case", [*cases.ODD, *CUT_CONVS], ids=str)
def test_convolutions_of_integers_equal_reference(case: ConvCase) -> None:
    assert_equal_to_reference(case, np.float32)


@needs_bfloat16
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(conv_cases(max_channels=40, max_groups=1), st.integers(0, 2**32 - 1))
def test_any_geometry_equals_reference(everywhere: None, case: ConvCase, seed: int) -> None:  # noqa: F811
    assert_equal_to_reference(case, np.float32, seed)


def assert_product_equals_reference(case: MatmulCase, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    a, b, bias = (draw_integers(rng, shape, np.float32) for shape in (case.a_shape, case.b_shape, (case.n,)))
    c = kernels.matmul(a, b, bias=bias, activation="relu", out=nans(case.y_shape, np.float32), **case.options)
    np.testing.assert_array_equal(c, reference.matmul(a, b, bias=bias, activation="relu", **case.options))
    expected = reference.matmul(a, b, alpha=2, beta=3, out=c, **case.options)
    np.testing.assert_array_equal(kernels.matmul(a, b, alpha=2, beta=3, out=c, **case.options), expected)


@needs_bfloat16
@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(("m", "n", "k"), [(70, 61, 2051), (300, 130, 65), (9, 200, 2048), (1, 33, 5)])
def test_products_of_integers_equal_reference(
    m: int, n: int, k: int, transpose_a: bool, transpose_b: bool
) -> None:
    assert_product_equals_reference(MatmulCase("product", m, n, k, transpose_a, transpose_b))


@needs_bfloat16
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(matmul_cases(max_size=70), st.integers(0, 2**32 - 1))
def test_any_product_equals_reference(everywhere: None, case: MatmulCase, seed: int) -> None:  # noqa: F811
    assert_product_equals_reference(case, seed)


@needs_bfloat16
@pytest.mark.usefixtures("asked")
def test_operands_are_rounded_and_sums_are_not() -> None:
    x, w, b, grad_y = operands(WIDE, np.float32, draw_normals)
    terms, pixels = 9 * WIDE.cin, int(np.prod(WIDE.y_shape[:3]))
    y = kernels.conv2d(x, w, b, **WIDE.options)
    x, w, grad_y = rounded(x), rounded(w), rounded(grad_y)
    expected = reference.conv2d(x, w, b, **WIDE.options)
    close_to(y, expected, reference.conv2d(abs(x), abs(w), abs(b), **WIDE.options), terms)
    grad_x = kernels.conv2d_grad_input(grad_y, w, x.shape, **WIDE.options)
    expected = reference.conv2d_grad_input(grad_y, w, x.shape, **WIDE.options)
    magnitude = reference.conv2d_grad_input(abs(grad_y), abs(w), x.shape, **WIDE.options)
    close_to(grad_x, expected, magnitude, 9 * WIDE.cout)
    grad_w = kernels.conv2d_grad_weights(x, grad_y, w.shape, **WIDE.options)
    expected = reference.conv2d_grad_weights(x, grad_y, w.shape, **WIDE.options)
    magnitude = reference.conv2d_grad_weights(abs(x), abs(grad_y), w.shape, **WIDE.options)
    close_to(grad_w, expected, magnitude, pixels)


@needs_bfloat16
@pytest.mark.usefixtures("asked")
def test_alpha_goes_into_b_before_it_is_rounded() -> None:
    rng = np.random.default_rng(0)
    a, b, old = (draw_normals(rng, shape, np.float32) for shape in ((300, 700), (700, 130), (300, 130)))
    c = kernels.matmul(a, b, alpha=0.3, beta=0.5, out=old.copy())
    left, right = rounded(a).astype(np.float64), rounded(np.float32(0.3) * b).astype(np.float64)
    magnitude = abs(left) @ abs(right) + abs(old)
    close_to(c, left @ right + 0.5 * old, magnitude, 700)


@needs_bfloat16
@pytest.mark.usefixtures("everywhere")
@pytest.mark.parametrize("value", [np.nan, np.inf, 3.4e38])
def test_nan_and_infinity_reach_exactly_the_outputs_that_see_them(value: float) -> None:
    """5 channels: the pixels beside one that is not finite are read in pairs with it only where they belong to the sum."""
    x = np.ones((1, 9, 9, 5), np.float32)
    x[0, 4, 5, 2] = value
    for width in (1, 3):
        w = np.ones((3, width, 5, 6), np.float32)
        seen = rounded(x)
        for options in ({}, {"padding": "same"}, {"strides": 2}):
            y = kernels.conv2d(x, w, **options)
            np.testing.assert_array_equal(y, reference.conv2d(seen, w, **options).astype(np.float32))
            grad_w = kernels.conv2d_grad_weights(x, y := np.ones_like(y), w.shape, **options)
            np.testing.assert_array_equal(
                grad_w, reference.conv2d_grad_weights(seen, y, w.shape, **options).astype(np.float32)
            )
    a = x.reshape(27, 15)
    np.testing.assert_array_equal(
        kernels.matmul(a, a, transpose_a=True), reference.matmul(rounded(a), rounded(a), transpose_a=True)
    )


@needs_bfloat16
@pytest.mark.usefixtures("asked")
def test_same_bits_for_any_number_of_threads() -> None:
    rng = np.random.default_rng(0)
    x, w = draw_normals(rng, (3, 41, 37, 32), np.float32), draw_normals(rng, (3, 3, 32, 70), np.float32)
    grad_y = draw_normals(rng, (3, 41, 37, 70), np.float32)
    deep, deep_w = (
        draw_normals(rng, (2, 7, 7, 256), np.float32),
        draw_normals(rng, (3, 3, 256, 256), np.float32),
    )
    a, b = draw_normals(rng, (300, 700), np.float32), draw_normals(rng, (700, 130), np.float32)
    calls = (
        lambda: kernels.conv2d(x, w, padding="same", activation="tanh"),
        lambda: kernels.conv2d_grad_input(grad_y, w, x.shape, padding="same"),
        lambda: kernels.conv2d_grad_weights(x, grad_y, w.shape, padding="same"),
        lambda: kernels.conv2d(deep, deep_w, padding="same"),
        lambda: kernels.conv2d_grad_input(deep, deep_w, deep.shape, padding="same"),
        lambda: kernels.conv2d_grad_weights(deep, deep, deep_w.shape, padding="same"),
        lambda: kernels.matmul(a, b),
    )
    before = threads.get_num_threads()
    try:
        for call in calls:
            threads.set_num_threads(1)
            expected = call()
            for count in (2, 3, 5):
                threads.set_num_threads(count)
                np.testing.assert_array_equal(call(), expected)
    finally:
        threads.set_num_threads(before)


# Who is asked.


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The products of bfloat16 that were made."""
    made: list[str] = []
    for module, name in (
        (bfloat16_conv2d, "forward"),
        (bfloat16_conv2d, "grad_input"),
        (bfloat16_conv2d, "grad_weights"),
        (bfloat16_matmul, "work"),
    ):
        original = getattr(module, name)

        def counted(*args, original=original, name=name):
            made.append(name)
            return original(*args)

        monkeypatch.setattr(module, name, counted)
    return made


def run_all(dtype: type = np.float32, case: ConvCase = WIDE, m: int = 300) -> list[np.ndarray]:
    x, w, _, grad_y = operands(case, dtype, draw_normals)
    rng = np.random.default_rng(1)
    a, b = draw_normals(rng, (m, 200), dtype), draw_normals(rng, (200, 130), dtype)
    return [
        kernels.conv2d(x, w, **case.options),
        kernels.conv2d_grad_input(grad_y, w, x.shape, **case.options),
        kernels.conv2d_grad_weights(x, grad_y, w.shape, **case.options),
        kernels.matmul(a, b),
    ]


@needs_bfloat16
@pytest.mark.usefixtures("asked")
def test_wide_float32_products_are_taken(work: list[str]) -> None:
    run_all()
    assert work == ["forward", "grad_input", "grad_weights", "work"]


@pytest.mark.parametrize(
    ("dtype", "case", "m"),
    [
        (np.float64, WIDE, 300),
        (np.float32, ConvCase("narrow", 2, 9, 9, 16, 16, (1, 1)), 30),
        (np.float32, ConvCase("groups", 2, 9, 9, 160, 160, (3, 3), groups=2), 30),
    ],
    ids=["float64", "narrow", "groups"],
)
@pytest.mark.usefixtures("asked")
def test_others_stay_as_they_are_to_the_bit(dtype: type, case: ConvCase, m: int, work: list[str]) -> None:
    there = run_all(dtype, case, m)
    assert not work
    precision.set_matmul_precision("float32")
    for with_setting, plain in zip(there, run_all(dtype, case, m), strict=True):
        np.testing.assert_array_equal(with_setting, plain)


@pytest.mark.parametrize("word", ["float32", "tf32"])
@pytest.mark.usefixtures("asked")
def test_other_words_leave_the_cpu_at_float32(word: str, work: list[str]) -> None:
    precision.set_matmul_precision(word)
    run_all()
    assert not work


@pytest.mark.usefixtures("asked")
def test_a_processor_without_the_instructions_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, work: list[str]
) -> None:
    monkeypatch.setattr(bfloat16_pays, "host", lambda: Host(64, 32))
    run_all()
    assert not work


def test_what_pays() -> None:
    """Wide layers do; what is summed less often than it costs to round does not; an odd number of terms wastes half a pair."""

    def conv(cin: int, cout: int, kernel: int = 3, size: int = 28) -> Conv:
        return Conv(Window2D.of(kernel, padding="same"), size, size, cin, cout)

    assert all(
        pays(conv(64, 64))
        for pays in (bfloat16_pays.forward, bfloat16_pays.grad_input, bfloat16_pays.grad_weights)
    )
    assert not bfloat16_pays.forward(conv(256, 32, 1))
    assert bfloat16_pays.grad_input(conv(256, 32, 1))
    assert not bfloat16_pays.grad_weights(conv(256, 64, 1))
    assert bfloat16_pays.grad_weights(conv(512, 512, 1, 7))
    assert not bfloat16_pays.forward(conv(1, 64, 1))
    assert bfloat16_pays.matmul(PRODUCT)
    assert not bfloat16_pays.matmul(PRODUCT._replace(m=42))
    assert not bfloat16_pays.matmul(PRODUCT._replace(n=40))
