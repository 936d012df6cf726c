"""Losses on the GPU, their PTX interpreted: against the reference and the CPU's kernels, what is right counted alike."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import Interpreted
from op_operands import DTYPES, draw_normals, nans

from cnnlite_kernels import reference
from cnnlite_kernels.cpu import losses as cpu
from cnnlite_kernels.cpu import plan as cpu_plan
from cnnlite_kernels.cpu.memory import pointer_to
from cnnlite_kernels.cuda import losses
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.settings import ABSOLUTE, BINARY, BINARY_LOGITS, DIVERGENCE, HINGE, HUBER, SQUARED

DEVICE = Interpreted()
SHAPES = ((1, 1), (1, 2), (300, 3), (32, 10), (9, 33), (3, 1030))  # rows of a thread, of a warp, of a block
KINDS = {
    "squared": SQUARED, "binary": BINARY, "binary_logits": BINARY_LOGITS, "absolute": ABSOLUTE, "divergence": DIVERGENCE,
    "hinge": HINGE, "huber": HUBER,
}  # fmt: skip
SCALE, SMALLEST, DELTA = 0.25, 1e-7, 0.75


class Outputs:
    """losses (n,), correct (n,) and grad (n, c), or None."""

    def __init__(self, logits: np.ndarray, with_grad: bool) -> None:
        n, dtype = len(logits), logits.dtype.type
        self.losses, self.correct = nans((n,), dtype), nans((n,), dtype)
        self.grad = nans(logits.shape, dtype) if with_grad else None

    def assert_close_to(self, other: Outputs, magnitude: float) -> None:
        """A few roundings of numbers of about `magnitude`."""
        tolerance = 32 * np.finfo(self.losses.dtype).eps
        np.testing.assert_array_equal(self.correct, other.correct)
        np.testing.assert_allclose(self.losses, other.losses, rtol=tolerance, atol=tolerance * magnitude)
        if self.grad is not None:
            assert other.grad is not None
            np.testing.assert_allclose(self.grad, other.grad, rtol=tolerance, atol=tolerance)


def on_gpu(
    logits: np.ndarray, targets: np.ndarray, weights: np.ndarray, kind: int | None, with_grad: bool = True
) -> Outputs:
    """kind: of an elementwise loss; None for the cross-entropy of softmax, with labels where targets are integers."""
    found, plan = Outputs(logits, with_grad), Plan(DEVICE)
    grad = None if found.grad is None else found.grad.reshape(-1)
    flat = logits.reshape(-1), targets.reshape(-1), weights, grad
    operands = (*flat, found.losses, found.correct, *logits.shape, SCALE)
    if kind is None:
        losses.add_softmax_cross_entropy(plan, *operands, labels=targets.dtype == np.int32)
    else:
        losses.add_elementwise(plan, *operands, kind=kind, smallest=SMALLEST, delta=DELTA)
    plan.run()
    return found


def on_cpu(logits: np.ndarray, targets: np.ndarray, weights: np.ndarray, kind: int | None) -> Outputs:
    found, plan = Outputs(logits, True), cpu_plan.Plan(logits.itemsize)
    assert found.grad is not None
    arrays = {
        "logits": logits, "labels": targets, "targets": targets, "weights": weights,
        "losses": found.losses, "correct": found.correct, "grad": found.grad,
    }  # fmt: skip
    kernel, integer = cpu.elementwise, kind
    if kind is None:
        kernel, integer = cpu.softmax_cross_entropy, int(targets.dtype == np.int32)
    plan.add(
        kernel, logits.itemsize, integer, n=len(logits), c=logits.shape[1], with_grad=1, scale=SCALE, smallest=SMALLEST, delta=DELTA,
        **{name: pointer_to(array) for name, array in arrays.items()},
    )  # fmt: skip
    cpu_plan.Job([[cpu_plan.Part(plan)]]).run()
    return found


def draw(
    kind: str, shape: tuple[int, int], dtype: type, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, targets and weights for a loss by its name."""
    rng = np.random.default_rng(seed)
    n, c = shape
    predictions, weights = draw_normals(rng, shape, dtype) * dtype(5), rng.random(n).astype(dtype)
    if kind == "labels":
        return predictions, rng.integers(0, c, n).astype(np.int32), weights
    if kind in ("binary", "divergence"):
        predictions = rng.random(shape).astype(dtype)
    return predictions, rng.random(shape).astype(dtype), weights


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["labels", "targets", *KINDS])
def test_close_to_the_cpu(kind: str, shape: tuple[int, int], dtype: type) -> None:
    operands = draw(kind, shape, dtype)
    found = on_gpu(*operands, KINDS.get(kind))
    # a sum of c terms, or of exponentials, in another order
    found.assert_close_to(on_cpu(*operands, KINDS.get(kind)), 20 * shape[1])
    again = on_gpu(*operands, KINDS.get(kind))
    np.testing.assert_array_equal(again.losses, found.losses)
    np.testing.assert_array_equal(again.grad, found.grad)
    on_gpu(*operands, KINDS.get(kind), with_grad=False).assert_close_to(found, 20 * shape[1])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.sampled_from(["labels", "targets", *KINDS]), st.sampled_from(DTYPES),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_shape_is_close_to_the_cpu(n: int, c: int, kind: str, dtype: type, seed: int) -> None:
    operands = draw(kind, (n, c), dtype, seed)
    on_gpu(*operands, KINDS.get(kind)).assert_close_to(on_cpu(*operands, KINDS.get(kind)), 20 * c)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_cross_entropy_is_close_to_the_reference(shape: tuple[int, int], dtype: type) -> None:
    logits, labels, _ = draw("labels", shape, dtype)
    found = on_gpu(logits, labels, np.ones(shape[0], dtype), None)
    tolerance = np.finfo(dtype).eps * (64 + np.sqrt(shape[1]))
    np.testing.assert_allclose(
        found.losses, reference.softmax_cross_entropy(logits, labels), rtol=tolerance, atol=tolerance
    )
    expected = SCALE * reference.softmax_cross_entropy_grad(logits, labels)
    np.testing.assert_allclose(found.grad, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("c", [2, 5, 1040])
@pytest.mark.parametrize("kind", ["labels", "targets", *KINDS])
def test_equal_largest_and_nan(kind: str, c: int) -> None:
    """Of equal ones the first is right; rows with a NaN or infinities have the CPU's losses, gradients and counts."""
    rng = np.random.default_rng(1)
    predictions = rng.integers(0, 2, (40, c)).astype(np.float32)
    targets = rng.integers(0, 2, (40, c)).astype(np.float32)
    for row, column, value in (
        (3, 0, np.nan),
        (4, c - 1, np.nan),
        (5, c // 2, np.nan),
        (6, 0, np.inf),
        (7, 1, -np.inf),
    ):
        predictions[row, column] = value
    predictions[8] = -np.inf
    predictions[9] = np.nan
    if kind == "labels":
        targets = rng.integers(0, c, 40).astype(np.int32)
    else:
        targets[10, 0] = targets[11, c - 1] = np.nan
    weights = np.ones(40, np.float32)
    expected = on_cpu(predictions, targets, weights, KINDS.get(kind))
    on_gpu(predictions, targets, weights, KINDS.get(kind)).assert_close_to(expected, 20 * c)
    assert expected.correct[12:].mean() < 1


def test_one_output_is_right_on_its_side_of_a_half() -> None:
    predictions = np.array([[0.4], [0.6], [0.5], [0.6]], np.float32)
    targets = np.array([[0], [0], [0], [1]], np.float32)
    found = on_gpu(predictions, targets, np.ones(4, np.float32), BINARY)
    np.testing.assert_array_equal(found.correct, [1, 0, 1, 1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", [2, 40, 1100])
def test_no_overflow_and_no_logarithm_of_zero(c: int, dtype: type) -> None:
    logits = np.full((3, c), -np.inf, dtype)
    logits[:, :2] = [[1000, 0], [1000, 0], [-1000, 1000]]
    found = on_gpu(logits, np.array([0, 1, 0], np.int32), np.ones(3, dtype), None)
    assert found.grad is not None
    np.testing.assert_array_equal(found.losses, [0, 1000, 2000])
    np.testing.assert_array_equal(found.grad[:, :2] / dtype(SCALE), [[0, 0], [1, -1], [-1, 1]])
    np.testing.assert_array_equal(found.grad[:, 2:], 0)


@pytest.mark.parametrize("kind", ["labels", "targets", *KINDS])
@pytest.mark.parametrize("c", [2, 10, 1040])
def test_the_gradient_may_take_the_place_of_the_predictions(c: int, kind: str) -> None:
    predictions, targets, weights = draw(kind, (6, c), np.float32)
    predictions[2, 1] = np.nan  # a row that is looked at twice
    expected = on_gpu(predictions, targets, weights, KINDS.get(kind))
    plan, flat, outputs = Plan(DEVICE), predictions.reshape(-1), Outputs(predictions, False)
    operands = (flat, targets.reshape(-1), weights, flat, outputs.losses, outputs.correct, 6, c, SCALE)
    if kind in KINDS:
        losses.add_elementwise(plan, *operands, kind=KINDS[kind], smallest=SMALLEST, delta=DELTA)
    else:
        losses.add_softmax_cross_entropy(plan, *operands, labels=kind == "labels")
    plan.run()
    np.testing.assert_array_equal(predictions, expected.grad)
    np.testing.assert_array_equal(outputs.losses, expected.losses)
    np.testing.assert_array_equal(outputs.correct, expected.correct)


@pytest.mark.parametrize("label", [-1, 5, 2**31 - 1])
def test_a_label_that_is_no_class_has_no_loss_and_reads_nothing(label: int) -> None:
    """On a device nobody can look at labels before: their loss is NaN, as loud as a number can be."""
    logits = np.zeros((2, 5), np.float32)
    found = on_gpu(logits, np.array([label, 1], np.int32), np.ones(2, np.float32), None)
    assert np.isnan(found.losses[0])
    np.testing.assert_allclose(found.losses[1], np.log(5), rtol=1e-6)
    np.testing.assert_array_equal(found.correct, [0, 0])


def test_nothing_to_do() -> None:
    plan, empty = Plan(DEVICE), np.empty(0, np.float32)
    losses.add_softmax_cross_entropy(
        plan, empty, np.empty(0, np.int32), empty, empty, empty, empty, 0, 10, 1.0, labels=True
    )
    losses.add_elementwise(
        plan, empty, empty, empty, empty, empty, empty, 0, 10, 1.0, kind=BINARY, smallest=SMALLEST
    )
    assert not plan.launches
