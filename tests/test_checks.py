"""Whatever a caller can get wrong is told before a kernel runs: which op, what was expected, what came, what to do."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import cnnlite_kernels as kernels

X = np.ones((2, 8, 8, 4), np.float32)
W = np.ones((3, 3, 4, 6), np.float32)
Y = np.ones((2, 6, 6, 6), np.float32)
A = np.ones((3, 4), np.float32)
B = np.ones((4, 5), np.float32)
LOGITS, LABELS = np.ones((3, 4), np.float32), np.array([0, 1, 3])
POOLED = np.ones((2, 4, 4, 4), np.float32)


def read_only(shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(shape, np.float32)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: kernels.conv2d(X.astype(int), W),
            r'^conv2d: expected x of dtype float32 or float64, got int64; convert it with x.astype\("float32"\)\.$',
        ),
        (
            lambda: kernels.conv2d(X.astype(np.float16), W),
            "^conv2d: expected x of dtype float32 or float64, got float16; convert",
        ),
        (
            lambda: kernels.conv2d(X.astype(complex), W),
            "^conv2d: expected x of dtype float32 or float64, got complex128; convert",
        ),
        (
            lambda: kernels.conv2d(X > 0, W),
            "^conv2d: expected x of dtype float32 or float64, got bool; convert",
        ),
        (
            lambda: kernels.conv2d(X, W.astype(float)),
            r"^conv2d: expected w of dtype float32 as the first operand has, got float64; convert it",
        ),
        (
            lambda: kernels.conv2d(X, W, np.ones(6)),
            "^conv2d: expected b of dtype float32 as the first operand has, got float64",
        ),
        (
            lambda: kernels.conv2d(X, W, np.ones(6, int)),
            "^conv2d: expected b of dtype float32 or float64, got int64",
        ),
        (
            lambda: kernels.conv2d_grad_input(Y.astype(int), W, X.shape),
            "^conv2d_grad_input: expected grad_y of dtype float32 or float64, got int64",
        ),
        (
            lambda: kernels.conv2d_grad_weights(X, Y.astype(float), W.shape),
            "^conv2d_grad_weights: expected grad_y of dtype float32 as",
        ),
        (
            lambda: kernels.max_pool2d(X.astype(np.uint8), 2),
            "^max_pool2d: expected x of dtype float32 or float64, got uint8",
        ),
        (
            lambda: kernels.max_pool2d_grad(POOLED.astype(float), X, 2),
            "^max_pool2d_grad: expected grad_y of dtype float32 as",
        ),
        (
            lambda: kernels.max_pool2d_grad(POOLED, X, 2, indices=np.zeros(POOLED.shape, int)),
            r"^max_pool2d_grad: expected indices of dtype int32, got int64; pass what max_pool2d\(",
        ),
        (
            lambda: kernels.matmul(A.astype(int), B),
            "^matmul: expected a of dtype float32 or float64, got int64",
        ),
        (lambda: kernels.matmul(A, B.astype(float)), "^matmul: expected b of dtype float32 as"),
        (
            lambda: kernels.matmul(A, B, alpha="2 apples"),
            "^matmul: expected alpha as a number, got '2 apples'; pass an int or a float",
        ),
        (
            lambda: kernels.matmul(A, B, out=np.empty((3, 5), np.float32), beta=None),
            "^matmul: expected beta as a number, got None",
        ),
        (lambda: kernels.relu(np.arange(3)), "^relu: expected x of dtype float32 or float64, got int64"),
        (lambda: kernels.sigmoid_grad(A, A.astype(float)), "^sigmoid_grad: expected y of dtype float32 as"),
        (
            lambda: kernels.softmax_cross_entropy(LOGITS.astype(int), LABELS),
            "^softmax_cross_entropy: expected logits of dtype float32 or float64, got int64",
        ),
        (
            lambda: kernels.softmax_cross_entropy(LOGITS, LABELS.astype(float)),
            r'^softmax_cross_entropy: expected labels of an integer dtype, got float64; convert them with labels.astype\("int32"\)',
        ),
        (
            lambda: kernels.matmul(A, B, out=[[0] * 5] * 3),
            r"^matmul: expected out to be a NumPy array or None, got list; pass np.empty\(\(3, 5\)\)\.",
        ),
        (
            lambda: kernels.matmul(A, B, out=np.empty((3, 5))),
            r"^matmul: expected out of dtype float32 as the operands have, got float64; pass np.empty",
        ),
    ],
)
def test_dtypes(call, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: kernels.conv2d(X[0], W),
            r"^conv2d: expected x of shape \(n, h, w, cin\), got \(8, 8, 4\); reshape it, or add an axis",
        ),
        (
            lambda: kernels.conv2d(X, W[0]),
            r"^conv2d: expected w of shape \(kh, kw, cin // groups, cout\), got \(3, 4, 6\)",
        ),
        (
            lambda: kernels.conv2d(np.ones((8, 13, 13, 16), np.float32), np.ones((3, 3, 32, 64), np.float32)),
            r"^conv2d: expected x with 32 channels to match w \(3, 3, 32, 64\), got x of shape \(8, 13, 13, 16\); "
            r"pass x with 32 channels, or w of shape \(3, 3, 16, 64\)\.$",
        ),
        (
            lambda: kernels.conv2d(X, W, groups=3),
            r"^conv2d: expected x with 12 channels \(3 groups of 4\) to match w .* pass x with 12 channels, or groups",
        ),
        (
            lambda: kernels.conv2d(X, W[:, :, :1], groups=4),
            r"^conv2d: expected the 6 output channels of w \(3, 3, 1, 6\) to be a multiple of groups=4",
        ),
        (
            lambda: kernels.conv2d(X, W, groups=0),
            "^conv2d: expected groups as an int of at least 1, got 0; pass groups=1",
        ),
        (lambda: kernels.conv2d(X, W, groups=None), "^conv2d: expected groups as an int of at least 1"),
        (
            lambda: kernels.conv2d(X, W, groups=1.5),
            "^conv2d: expected groups as an int of at least 1, got 1.5",
        ),
        (
            lambda: kernels.conv2d(X, W, np.ones((1, 6), np.float32)),
            r"^conv2d: expected b of shape \(cout,\), got \(1, 6\)",
        ),
        (
            lambda: kernels.conv2d(X, W, np.ones(5, np.float32)),
            r"^conv2d: expected b of shape \(6,\), one number for each column of the result, got \(5,\)",
        ),
        (
            lambda: kernels.conv2d(X, W, strides=0),
            r"^conv2d: expected strides as an int or a pair of ints of at least 1, got 0",
        ),
        (lambda: kernels.conv2d(X, W, padding="full"), r"^conv2d: expected padding .* got 'full'"),
        (
            lambda: kernels.conv2d(X, W, dilation=4),
            r"^conv2d: expected an image of at least 9 x 9 pixels, padding included",
        ),
        (lambda: kernels.conv2d(X, W[:0]), r"^conv2d: expected kernel as"),
        (
            lambda: kernels.conv2d(X, W, activation="gelu"),
            r"^conv2d: expected activation None, .* got 'gelu'; apply others to the result",
        ),
        (
            lambda: kernels.conv2d_grad_input(Y, W, (2, 8, 8)),
            r"^conv2d_grad_input: expected x_shape as ints \(n, h, w, cin\), got \(2, 8, 8\)",
        ),
        (lambda: kernels.conv2d_grad_input(Y, W, None), r"^conv2d_grad_input: expected x_shape as ints"),
        (
            lambda: kernels.conv2d_grad_input(Y, W, (2, 8, 8, -4)),
            r"^conv2d_grad_input: expected x_shape as ints",
        ),
        (
            lambda: kernels.conv2d_grad_input(Y, W, (2, 8, 9, 4)),
            r"^conv2d_grad_input: expected grad_y of shape \(2, 6, 7, 6\) for x_shape \(2, 8, 9, 4\) and w \(3, 3, 4, 6\), got",
        ),
        (
            lambda: kernels.conv2d_grad_weights(X, Y, (3, 3, 5, 6)),
            r"^conv2d_grad_weights: expected x with 5 channels to match w",
        ),
        (
            lambda: kernels.conv2d_grad_weights(X, Y, (3, 2, 4, 6)),
            r"^conv2d_grad_weights: expected grad_y of shape \(2, 6, 7, 6\) for x \(2, 8, 8, 4\) and w_shape \(3, 2, 4, 6\), got",
        ),
        (
            lambda: kernels.max_pool2d(X[0], 2),
            r"^max_pool2d: expected x of shape \(n, h, w, c\), got \(8, 8, 4\)",
        ),
        (lambda: kernels.max_pool2d(X, 9), r"^max_pool2d: expected an image of at least 9 x 9"),
        (
            lambda: kernels.max_pool2d(X, 2, padding=((2, 0), (0, 0))),
            r"^max_pool2d: expected padding smaller than the pool size \(2, 2\), .* got \(\(2, 0\), \(0, 0\)\); pad less",
        ),
        (
            lambda: kernels.max_pool2d_grad(POOLED, X, 3),
            r"^max_pool2d_grad: expected grad_y of shape \(2, 2, 2, 4\) for x .* and pool_size \(3, 3\)",
        ),
        (
            lambda: kernels.max_pool2d_grad(POOLED, X, 2, indices=np.zeros((2, 4, 4, 3), np.int32)),
            r"^max_pool2d_grad: expected indices of shape \(2, 4, 4, 4\) as grad_y has, got \(2, 4, 4, 3\)",
        ),
        (
            lambda: kernels.max_pool2d_grad(POOLED, X, 2, indices=np.full(POOLED.shape, 4, np.int32)),
            r"^max_pool2d_grad: expected indices of pixels inside the image and the window \(2, 2\), got 4; pass what",
        ),
        (
            lambda: kernels.max_pool2d_grad(
                X, X, 3, strides=1, padding="same", indices=np.zeros(X.shape, np.int32)
            ),
            r"^max_pool2d_grad: expected indices of pixels inside the image",
        ),
        (lambda: kernels.matmul(A[0], B), r"^matmul: expected a of shape \(m, k\), got \(4,\)"),
        (
            lambda: kernels.matmul(A, B[:3]),
            r"^matmul: expected b with 4 rows to match the 4 columns of a, got a \(3, 4\) and b \(3, 5\); transpose",
        ),
        (
            lambda: kernels.matmul(A, B, transpose_a=True, transpose_b=True),
            r"^matmul: expected b with 3 columns to match the 3 rows of a",
        ),
        (
            lambda: kernels.matmul(A, B, bias=np.ones(4, np.float32)),
            r"^matmul: expected bias of shape \(5,\), .* got \(4,\)",
        ),
        (
            lambda: kernels.matmul(A, B, bias=np.ones((1, 5), np.float32)),
            r"^matmul: expected bias of shape \(n,\), got \(1, 5\)",
        ),
        (
            lambda: kernels.matmul(A, B, beta=1),
            "^matmul: expected out to hold the matrix that beta=1 scales, got None; pass out",
        ),
        (
            lambda: kernels.matmul(A, B, activation="softmax"),
            "^matmul: expected activation None, .* got 'softmax'",
        ),
        (
            lambda: kernels.softmax(np.float32(1)),
            r"^softmax: expected x with at least one number along its last axis, got shape \(\); leave empty rows out",
        ),
        (
            lambda: kernels.softmax(np.ones((3, 0))),
            r"^softmax: expected x with at least one number along its last axis, got shape \(3, 0\)",
        ),
        (
            lambda: kernels.softmax_grad(np.ones((3, 0)), np.ones((3, 0))),
            r"^softmax_grad: expected y with at least one",
        ),
        (
            lambda: kernels.tanh_grad(A, B),
            r"^tanh_grad: expected y of shape \(3, 4\) as grad_y has, got \(4, 5\)",
        ),
        (
            lambda: kernels.softmax_cross_entropy(LOGITS[0], LABELS),
            r"^softmax_cross_entropy: expected logits of shape \(n, classes\), got \(4,\)",
        ),
        (
            lambda: kernels.softmax_cross_entropy(LOGITS[:, :0], LABELS),
            r"^softmax_cross_entropy: expected logits with at least one number",
        ),
        (
            lambda: kernels.softmax_cross_entropy(LOGITS, LABELS[:2]),
            r"^softmax_cross_entropy: expected labels of shape \(3,\) to match logits \(3, 4\), got \(2,\)",
        ),
        (
            lambda: kernels.softmax_cross_entropy(LOGITS, LABELS + 1),
            r"^softmax_cross_entropy: expected labels from 0 to 3 to match logits \(3, 4\), got 1 to 4",
        ),
        (
            lambda: kernels.softmax_cross_entropy(LOGITS, LABELS - 1),
            r"^softmax_cross_entropy: expected labels from 0 to 3 .* got -1 to 2; number the classes from 0",
        ),
    ],
)
def test_shapes_and_values(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: kernels.matmul(A, B, out=np.empty((5, 3), np.float32)),
            r"^matmul: expected out of shape \(3, 5\), got \(5, 3\); pass np.empty\(\(3, 5\), 'float32'\)",
        ),
        (
            lambda: kernels.matmul(A, B, out=read_only((3, 5))),
            "^matmul: expected out to be writeable, got a read-only array; pass a copy, or no out",
        ),
        (
            lambda: kernels.matmul(A, B, out=np.empty((5, 3), np.float32).T),
            r"^matmul: expected out to be C-contiguous, got strides \(4, 12\); pass no out",
        ),
        (
            lambda: kernels.conv2d(X, W[:, :, :, :4], padding="same", out=X),
            "^conv2d: expected out to share no memory with the inputs, got one that overlaps",
        ),
        (lambda: kernels.max_pool2d(X, 1, out=X), "^max_pool2d: expected out to share no memory"),
    ],
)
def test_out(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_out_may_be_an_input_only_where_that_is_said_and_exactly() -> None:
    memory = np.ones(10, np.float32)
    kernels.relu(memory[:8], out=memory[:8])
    with pytest.raises(ValueError, match=r"^relu: expected out to share no memory"):
        kernels.relu(memory[:8], out=memory[1:9])
    # x is backwards and is copied first: then nothing overlaps
    assert kernels.relu(memory[::-1], out=memory) is memory


def test_import_is_light() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import cnnlite_kernels"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "cnnlite_kernels" in imported
    assert not imported & {"numba", "llvmlite", "numba_cuda", "cupy"}
