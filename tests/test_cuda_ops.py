"""The public ops with device="cuda" on NumPy arrays and on arrays on a device, in the PTX interpreter, against the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cases
import numpy as np
import pytest
from cases import ConvCase, MatmulCase, PoolCase
from op_operands import DTYPES, assert_close, draw_integers, draw_normals, nans

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed", exc_type=ImportError)

from interpreted import Interpreted

import cnnlite_kernels as kernels
from cnnlite_kernels import DeviceArray, dispatch, reference
from cnnlite_kernels.cuda import gpu
from cnnlite_kernels.cuda.driver import missing

DEVICES = (Interpreted(), Interpreted())


def named(group: tuple[Any, ...], *names: str) -> list[Any]:
    return [case for case in group if case.name in names]


CONVS = named(
    cases.ODD, "kernel_2x3_same", "strides_larger_than_kernel", "uneven_pads_strides_dilation", "groups_2", "depthwise_strides_2",
    "one_channel_to_33", "batch_0",
)  # fmt: skip
POOLS = named(cases.ODD_POOLS, "pool_3_overlapping", "pool_2_drops_last", "uneven_pads", "batch_0")
MATMULS = named(
    cases.ODD_MATMULS,
    "17x33x5",
    "17x33x5_transpose_a",
    "17x33x5_transpose_both",
    "long_sum",
    "one_column",
    "m_0",
    "k_0",
)


@pytest.fixture(autouse=True)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two interpreters stand for the machine's GPUs, or the machine's GPU is taken."""
    problem = missing()
    if getattr(request, "param", "interpreter") == "interpreter":
        monkeypatch.setattr(gpu, "current", lambda number=0: DEVICES[number])
    elif problem:
        pytest.skip(f"no GPU: {problem}")
    dispatch._state.cache_clear()
    yield
    dispatch._state.cache_clear()


on_both = pytest.mark.parametrize(
    "place", ["interpreter", pytest.param("gpu", marks=pytest.mark.gpu)], indirect=True
)


def up(array: np.ndarray) -> DeviceArray:
    return kernels.to_device(array)


def both(op: Callable, *arrays: np.ndarray | None, **options: Any) -> list[np.ndarray]:
    """The op's result by way of device="cuda" on NumPy arrays, and of arrays that are on the device, which must be the same bits."""
    there = op(*arrays, device="cuda", **options)
    stays = op(*(array if array is None else up(array) for array in arrays), **options)
    there, stays = ((result if isinstance(result, tuple) else (result,)) for result in (there, stays))
    for host, device in zip(there, stays, strict=True):
        assert type(host) is np.ndarray
        assert isinstance(device, DeviceArray)
        assert device.dtype == host.dtype
        np.testing.assert_array_equal(device.copy_to_host(), host)
    return list(there)


@on_both
@pytest.mark.parametrize("case", MATMULS, ids=str)
def test_matmul(case: MatmulCase) -> None:
    rng = np.random.default_rng(0)
    a, b, bias, c = (
        draw_integers(rng, shape, np.float32)
        for shape in (case.a_shape, case.b_shape, (case.n,), case.y_shape)
    )
    (plain,) = both(kernels.matmul, a, b, **case.options)
    np.testing.assert_array_equal(plain, reference.matmul(a, b, **case.options))
    options = {**case.options, "alpha": -3, "beta": 2, "bias": bias, "activation": "relu"}
    got = kernels.matmul(a, b, out=c.copy(), device="cuda", **options)
    np.testing.assert_array_equal(got, reference.matmul(a, b, out=c, **options))


@on_both
@pytest.mark.parametrize("case", CONVS, ids=str)
def test_conv2d(case: ConvCase) -> None:
    rng = np.random.default_rng(0)
    x, w, b, grad_y = (
        draw_integers(rng, shape, np.float32)
        for shape in (case.x_shape, case.w_shape, (case.cout,), case.y_shape)
    )
    (y,) = both(kernels.conv2d, x, w, b, activation="relu", **case.options)
    np.testing.assert_array_equal(y, reference.conv2d(x, w, b, activation="relu", **case.options))
    (grad_x,) = both(
        lambda grad_y, w, **options: kernels.conv2d_grad_input(
            grad_y, w, case.x_shape, **case.options, **options
        ),
        grad_y,
        w,
    )
    np.testing.assert_array_equal(
        grad_x, reference.conv2d_grad_input(grad_y, w, case.x_shape, **case.options)
    )
    (grad_w,) = both(
        lambda x, grad_y, **options: kernels.conv2d_grad_weights(
            x, grad_y, case.w_shape, **case.options, **options
        ),
        x,
        grad_y,
    )
    np.testing.assert_array_equal(
        grad_w, reference.conv2d_grad_weights(x, grad_y, case.w_shape, **case.options)
    )


def test_conv2d_transpose() -> None:
    """With a bias, which is added on the device, too."""
    rng = np.random.default_rng(0)
    x, w, b = (draw_integers(rng, shape, np.float32) for shape in ((2, 3, 4, 5), (3, 2, 7, 5), (7,)))
    (y,) = both(kernels.conv2d_transpose, x, w, b, strides=2)
    np.testing.assert_array_equal(y, reference.conv2d_transpose(x, w, b, y_size=(7, 8), strides=2))


@on_both
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["max_pool2d", "min_pool2d"])
@pytest.mark.parametrize("case", POOLS, ids=str)
def test_max_and_min_pool2d(case: PoolCase, name: str, dtype: type) -> None:
    rng = np.random.default_rng(0)
    x, grad_y = draw_integers(rng, case.x_shape, dtype), draw_integers(rng, case.y_shape, dtype)
    y, indices = both(
        lambda x, **options: getattr(kernels, name)(
            x, case.pool_size, return_indices=True, **case.options, **options
        ),
        x,
    )
    expected, expected_indices = getattr(reference, name)(
        x, case.pool_size, return_indices=True, **case.options
    )
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    expected = getattr(reference, f"{name}_grad")(grad_y, x, case.pool_size, **case.options)
    for known in (None, indices):
        got = getattr(kernels, f"{name}_grad")(
            grad_y, x, case.pool_size, indices=known, out=nans(case.x_shape, dtype), device="cuda", **case.options
        )  # fmt: skip
        np.testing.assert_array_equal(got, expected)
    remote = getattr(kernels, f"{name}_grad")(
        up(grad_y), up(x), case.pool_size, indices=up(indices), **case.options
    )
    np.testing.assert_array_equal(remote.copy_to_host(), expected)


@on_both
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax"])
@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 7, 2)])
def test_activations(kind: str, shape: tuple[int, ...], dtype: type) -> None:
    rng = np.random.default_rng(0)
    x, grad_y = draw_normals(rng, shape, dtype), draw_normals(rng, shape, dtype)
    (y,) = both(getattr(kernels, kind), x)
    assert_close(y, getattr(reference, kind)(x), 8)
    (grad_x,) = both(getattr(kernels, f"{kind}_grad"), grad_y, y)
    assert_close(grad_x, getattr(reference, f"{kind}_grad")(grad_y, y), 8)
    there = up(x)
    assert getattr(kernels, kind)(there, out=there) is there
    np.testing.assert_array_equal(there.copy_to_host(), y)


@on_both
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "classes"), [(0, 3), (1, 1), (7, 10), (3, 100)])
def test_softmax_cross_entropy(n: int, classes: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    logits, labels = draw_normals(rng, (n, classes), dtype), rng.integers(0, classes, n)
    losses, grad = both(
        lambda logits, **options: kernels.softmax_cross_entropy(logits, labels, return_grad=True, **options),
        logits,
    )
    assert_close(losses, reference.softmax_cross_entropy(logits, labels), 2 * classes)
    assert_close(grad, reference.softmax_cross_entropy_grad(logits, labels), 2 * classes)
    alone = kernels.softmax_cross_entropy(up(logits), up(labels.astype(np.int32)))
    np.testing.assert_array_equal(alone.copy_to_host(), losses)


def test_numpy_operands_go_up_to_those_on_the_device() -> None:
    x, w = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 3), np.float32)
    y = kernels.conv2d(up(x), w, np.ones(3, np.float32))
    assert isinstance(y, DeviceArray)
    assert (y.copy_to_host() == 19).all()
    labels = up(np.zeros(2, np.int32))
    assert kernels.softmax_cross_entropy(np.zeros((2, 1), np.float32), labels).tolist() == [0, 0]


def test_the_second_gpu() -> None:
    a = np.eye(3, dtype=np.float32)
    there = kernels.to_device(a, "cuda:1")
    assert there.device is DEVICES[1]
    assert kernels.matmul(there, a).device is DEVICES[1]
    assert kernels.matmul(there, a, device="cuda").device is DEVICES[1]
    assert kernels.to_device(there, "cuda:1") is there
    assert kernels.to_device(there, "cuda:0").device is DEVICES[0]
    assert type(kernels.matmul(a, a, device="cuda:1")) is np.ndarray


X = np.ones((1, 4, 4, 2), np.float32)
A = np.ones((3, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: kernels.matmul(A.astype(float), A.astype(float), device="cuda"),
            TypeError,
            r'^matmul: expected operands of dtype float32 on a GPU, got float64; convert them with astype\("float32"\), or pass ',
        ),
        (
            lambda: kernels.conv2d(up(X.astype(float)), np.ones((1, 1, 2, 1))),
            TypeError,
            "^conv2d: expected operands of dtype float32 on a GPU, got float64",
        ),
        (
            lambda: kernels.relu(up(A), device="cpu"),
            ValueError,
            '^relu: expected operands in the host\'s memory for device "cpu", got one on a GPU; copy it with',
        ),
        (
            lambda: kernels.matmul(up(A), kernels.to_device(A, "cuda:1")),
            ValueError,
            "^matmul: expected all operands on .*, got one on .*; copy it there with to_device",
        ),
        (
            lambda: kernels.matmul(up(A), A, device="cuda:1"),
            ValueError,
            "^matmul: expected all operands on .*, got one on",
        ),
        (
            lambda: kernels.relu(up(A), out=np.empty((3, 3), np.float32)),
            TypeError,
            "^relu: expected out on .* as the operands are, got an array on the host; pass no out",
        ),
        (
            lambda: kernels.relu(up(A), out=kernels.to_device(A, "cuda:1")),
            TypeError,
            "^relu: expected out on .* as the operands are, got an array on .*; pass no out",
        ),
        (
            lambda: kernels.relu(A, out=up(A), device="cuda"),
            TypeError,
            "^relu: expected out to be a NumPy array or None, got DeviceArray",
        ),
        (
            lambda: kernels.relu(up(A), out=up(A[:2])),
            ValueError,
            r"^relu: expected out of shape \(3, 3\), got \(2, 3\); pass no out",
        ),
        (
            lambda: kernels.relu(up(A), out=up(A.astype(float))),
            TypeError,
            "^relu: expected out of dtype float32 as the operands have, got float64; pass no out",
        ),
        (
            lambda: kernels.relu(up(A), out=DeviceArray(DEVICES[0], up(A).flat, (3, 3), writeable=False)),
            ValueError,
            "^relu: expected out to be writeable and C-contiguous, got an array that is not",
        ),
        (
            lambda: kernels.relu(up(A.astype(int))),
            TypeError,
            "^relu: expected x of dtype float32 or float64, got int64; convert it with x.astype",
        ),
        (
            lambda: kernels.matmul(up(A), up(A[0])),
            ValueError,
            r"^matmul: expected b of shape \(k, n\), got \(3,\)",
        ),
        (
            lambda: kernels.max_pool2d_grad(up(X), up(X), 1, indices=up(X)),
            TypeError,
            "^max_pool2d_grad: expected indices of dtype int32, got float32",
        ),
        (
            lambda: kernels.softmax_cross_entropy(up(A), up(np.array([0, 1, 3]))),
            ValueError,
            "^softmax_cross_entropy: expected labels from 0 to 2",
        ),
    ],
)
def test_what_cannot_be(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_out_shares_no_memory_with_inputs() -> None:
    a = up(A)
    with pytest.raises(ValueError, match=r"^matmul: expected out to share no memory with the inputs"):
        kernels.matmul(a, A, out=a)
    row = up(np.ones(10, np.float32))
    shifted = DeviceArray(row.device, row.flat[1:9], (8,))
    with pytest.raises(ValueError, match=r"^relu: expected out to share no memory"):
        kernels.relu(DeviceArray(row.device, row.flat[:8], (8,)), out=shifted)
    out = up(A)
    assert kernels.matmul(a, A, out=out) is out
    assert (out.copy_to_host() == 3).all()


def test_an_empty_batch_gives_weights_no_gradient() -> None:
    grad = kernels.conv2d_grad_weights(
        up(np.ones((0, 4, 4, 2), np.float32)), np.ones((0, 2, 2, 3), np.float32), (3, 3, 2, 3)
    )
    assert isinstance(grad, DeviceArray)
    assert not grad.copy_to_host().any()


def test_every_op_has_a_gpu_function() -> None:
    for op in dispatch.TABLE.keys() - dispatch.CPU_ONLY:
        assert callable(dispatch.find(op, "cuda"))
    with pytest.raises(ValueError, match=r"^conv2d: .* which only the CPU has, got an operand on a GPU"):
        kernels.conv2d(up(X), np.ones((3, 3, 2, 1), np.float32), algorithm="winograd")
