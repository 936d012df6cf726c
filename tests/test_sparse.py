"""The gradients behind pooling equal those of the reference, whatever is dead, and nothing of what is dead reaches them: from lists
(sparse.py), and those of few weights (few_taps.py)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from op_operands import draw_integers, draw_normals, nans

from cnnlite_kernels import reference
from cnnlite_kernels.cpu import conv2d, few_taps, sparse
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.images import Images, with_halo
from cnnlite_kernels.cpu.memory import NOWHERE, Pointer, pointer_to
from cnnlite_kernels.cpu.plan import Job, Part, Plan
from cnnlite_kernels.window import Padding, Window2D

GUARD = 64  # numbers around an output that nobody may write


class Case(NamedTuple):
    """A convolution, and the pooling behind it; `windows` of the pooling that fit and have a gradient."""

    name: str
    n: int
    h: int
    w: int
    cin: int
    cout: int
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    padding: Padding = "valid"
    pool: tuple[int, int] = (2, 2)

    @property
    def conv(self) -> Conv:
        conv = Conv(
            Window2D.of(self.kernel, self.strides, padding=self.padding), self.h, self.w, self.cin, self.cout
        )
        (ph, pw), (h, w) = self.pool, self.windows
        return conv._replace(used=(h * ph, w * pw))

    @property
    def windows(self) -> tuple[int, int]:
        window = Window2D.of(self.kernel, self.strides, padding=self.padding)
        oh, ow = window.output_size(self.h, self.w)
        return oh // self.pool[0], ow // self.pool[1]


CASES = (
    Case("documented", 3, 13, 13, 32, 64),
    Case("ragged_channels_same", 2, 12, 9, 8, 37, padding="same"),
    Case("rows_one_by_one", 1, 8, 8, 72, 48, (3, 4)),
    Case("pool_3x2_strides", 2, 21, 17, 16, 16, (2, 3), (2, 1), "valid", (3, 2)),
)
FEW_TAPS = (
    Case("documented_first", 3, 28, 28, 1, 32),
    Case("ragged_channels_same", 2, 12, 9, 1, 37, padding="same"),
    Case("pool_3x2_strides", 2, 21, 17, 2, 16, (2, 1), (2, 1), "valid", (3, 2)),
    Case("as_many_as_fit", 1, 9, 40, 1, 20, (1, few_taps.MOST[host().registers] - 5)),
)


class Operands(NamedTuple):
    x: np.ndarray
    w: np.ndarray
    grad_y: np.ndarray
    places: np.ndarray


def draw(case: Case, dtype: type, alive: float, seed: int = 0) -> Operands:
    rng = np.random.default_rng(seed)
    x = draw_integers(rng, (case.n, case.h, case.w, case.cin), dtype)
    w = draw_integers(rng, (*case.kernel, case.cin, case.cout), dtype)
    shape = (case.n, *case.windows, case.cout)
    pool = case.pool[0] * case.pool[1]
    index = np.where(rng.random(shape) < alive, rng.integers(0, pool, shape), pool).astype(np.uint8)
    grad_y: np.ndarray = np.where(index < pool, draw_integers(rng, shape, dtype), np.nan).astype(dtype)
    return Operands(x, w, grad_y, index)


def expected(case: Case, at: Operands) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """grad_x, grad_w and grad_b of the reference, of the gradient before pooling."""
    (ph, pw), (oh, ow) = case.pool, case.windows
    before = np.zeros((case.n, *case.conv.window.output_size(case.h, case.w), case.cout))
    for q in range(ph * pw):
        rows, columns = slice(q // pw, oh * ph, ph), slice(q % pw, ow * pw, pw)
        before[:, rows, columns] = np.where(at.places == q, at.grad_y, 0)
    geometry: dict[str, Any] = dict(strides=case.strides, padding=case.padding)
    return (
        reference.conv2d_grad_input(before, at.w, at.x.shape, **geometry),
        reference.conv2d_grad_weights(at.x, before, at.w.shape, **geometry),
        before.sum((0, 1, 2)),
    )


def computed(
    case: Case, at: Operands, start: np.ndarray | None = None, wanted: str = "xwb"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same from the kernel; start: what is in grad_w and grad_b before, and is added to."""
    conv, dtype = case.conv, at.x.dtype
    plan = Plan(dtype.itemsize)
    taps = sparse.taps_held(conv, case.pool, plan.item)
    assert taps is not None
    x = with_halo(plan, Images(pointer_to(at.x), *at.x.shape), conv.halo)
    room = nans((x.size + 2 * GUARD,), dtype.type)
    grad_x = x._replace(start=pointer_to(room) + GUARD * plan.item)
    grad_w, grad_b = nans(at.w.shape, dtype.type), nans((case.cout,), dtype.type)
    if start is not None:
        grad_w[...], grad_b[:] = start[:-1].reshape(at.w.shape), start[-1]
    turned = plan.scratch(conv.weights * plan.item)
    sparse.add_turned_weights(plan, conv, pointer_to(at.w), turned)
    y = Images(pointer_to(at.grad_y), *at.grad_y.shape)

    def place(which: str, array: np.ndarray) -> Pointer:
        return pointer_to(array) if which in wanted else NOWHERE

    sparse.add_backward(
        plan, conv, taps, case.pool, x, y, pointer_to(at.places), y, turned,
        grad_x if "x" in wanted else None, place("w", grad_w), place("b", grad_b), start is not None,
    )  # fmt: skip
    Job([[Part(plan)]]).run()
    assert np.isnan(np.concatenate([room[:GUARD], room[-GUARD:]])).all()
    (top, _), (left, _) = conv.halo
    inside = room[GUARD:-GUARD].reshape(case.n, -1, x.row // case.cin, case.cin)
    return inside[:, top : top + case.h, left : left + case.w], grad_w, grad_b


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_integers_equal_reference(case: Case, dtype: type) -> None:
    at = draw(case, dtype, alive=0.7)
    for actual, wanted in zip(computed(case, at), expected(case, at), strict=True):
        assert actual.dtype == dtype
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("alive", [0.0, 1.0])
def test_none_and_all(alive: float) -> None:
    at = draw(CASES[0], np.float32, alive)
    for actual, wanted in zip(computed(CASES[0], at), expected(CASES[0], at), strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_adds_to_what_is_there() -> None:
    at = draw(CASES[1], np.float32, 0.5)
    start = draw_integers(np.random.default_rng(1), (CASES[1].conv.depth + 1, CASES[1].cout), np.float32)
    _, grad_w, grad_b = computed(CASES[1], at, start)
    _, more_w, more_b = expected(CASES[1], at)
    np.testing.assert_array_equal(grad_w, more_w + start[:-1].reshape(grad_w.shape))
    np.testing.assert_array_equal(grad_b, more_b + start[-1])


@pytest.mark.parametrize("wanted", ["x", "w", "b", ""])
def test_writes_only_what_is_wanted(wanted: str) -> None:
    at = draw(CASES[1], np.float32, 0.5)
    for which, actual, right in zip(
        "xwb", computed(CASES[1], at, wanted=wanted), expected(CASES[1], at), strict=True
    ):
        np.testing.assert_array_equal(actual, right if which in wanted else np.full_like(actual, np.nan))


def computed_in_registers(case: Case, at: Operands, start: np.ndarray | None = None) -> np.ndarray:
    """grad_w's rows and last grad_b, from few_taps."""
    plan = Plan(at.x.dtype.itemsize)
    assert few_taps.fits(case.conv, case.pool)
    grads = nans((case.conv.depth + 1, case.cout), at.x.dtype.type) if start is None else start.copy()
    y = Images(pointer_to(at.grad_y), *at.grad_y.shape)
    few_taps.add_backward(
        plan, case.conv, case.pool, Images(pointer_to(at.x), *at.x.shape), y, pointer_to(at.places), y,
        pointer_to(grads), pointer_to(grads[-1]), start is not None,
    )  # fmt: skip
    Job([[Part(plan)]]).run()
    return grads


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", FEW_TAPS, ids=lambda case: case.name)
def test_few_taps_equal_reference(case: Case, dtype: type) -> None:
    at = draw(case, dtype, alive=0.7)
    _, grad_w, grad_b = expected(case, at)
    right = np.concatenate([grad_w.reshape(-1, case.cout), grad_b[None]])
    start = draw_integers(np.random.default_rng(1), right.shape, dtype)
    np.testing.assert_array_equal(computed_in_registers(case, at), right)
    np.testing.assert_array_equal(computed_in_registers(case, at, start), start + right)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", FEW_TAPS, ids=lambda case: case.name)
def test_few_taps_forward_has_the_bits_of_the_tile(case: Case, dtype: type, relu: bool) -> None:
    rng = np.random.default_rng(2)
    x = draw_normals(rng, (case.n, case.h, case.w, case.cin), dtype)
    x[rng.random(x.shape) < 0.02] = np.nan
    w, bias = (
        draw_normals(rng, (*case.kernel, case.cin, case.cout), dtype),
        draw_normals(rng, (case.cout,), dtype),
    )
    shape = (case.n, *case.windows, case.cout)
    found = []
    for few in (True, False):
        plan = Plan(x.dtype.itemsize)
        images, y, index = Images(pointer_to(x), *x.shape), nans(shape, dtype), np.full(shape, 99, np.uint8)
        to, b, places = Images(pointer_to(y), *shape), pointer_to(bias), pointer_to(index)
        conv = case.conv._replace(used=None)
        if few:
            few_taps.add_forward(plan, conv, case.pool, images, pointer_to(w), b, to, relu, places)
        else:
            packed = plan.scratch(conv2d.packed_weights(conv, plan.item) * plan.item)
            conv2d.add_pack_weights(plan, conv, pointer_to(w), packed)
            conv2d.add_forward(plan, conv, images, packed, b, to, relu=relu, pool=case.pool, index=places)
        Job([[Part(plan)]]).run()
        found.append((y, index))
    (y, index), (right, places_right) = found
    np.testing.assert_array_equal(y, right)
    np.testing.assert_array_equal(index, places_right)


@settings(max_examples=20, deadline=None)
@given(
    n=st.integers(1, 3), h=st.integers(4, 14), w=st.integers(4, 14), padding=st.sampled_from(["valid", "same"]),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)), alive=st.floats(0, 1), seed=st.integers(0, 9),
)  # fmt: skip
def test_any_geometry(
    n: int, h: int, w: int, padding: str, strides: tuple[int, int], alive: float, seed: int
) -> None:
    many = Case("drawn", n, h, w, 8, 37, strides=strides, padding=padding)  # type: ignore[arg-type]
    if 0 in many.windows:
        return
    at = draw(many, np.float32, alive, seed)
    for actual, wanted in zip(computed(many, at), expected(many, at), strict=True):
        np.testing.assert_array_equal(actual, wanted)
    few = many._replace(cin=1)
    at = draw(few, np.float32, alive, seed)
    _, grad_w, grad_b = expected(few, at)
    right = np.concatenate([grad_w.reshape(-1, few.cout), grad_b[None]])
    np.testing.assert_array_equal(computed_in_registers(few, at), right)
