"""Arrays against pages that must not be touched, and a program that runs every op on them.

A vector that is read or written past either end of an operand, of an output or of what the parts of a job share ends the program
with a fault; nothing else would notice. `python guarded.py` runs all ops and prints how many bytes the host's vectors have;
`python guarded.py amx` runs the products of bfloat16 as AMX would; `python guarded.py outside` reads one number too many on purpose.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from unittest import mock

import cases
import numpy as np
from cases import ConvCase, MatmulCase, PoolCase
from op_operands import CUT_CONVS

import cnnlite_kernels as kernels
from cnnlite_kernels import precision, reference
from cnnlite_kernels.cpu import bfloat16_pays, bfloat16_product
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.ops import work

PAGE = mmap.PAGESIZE
NO_ACCESS = 0  # PROT_NONE
_kept: list[mmap.mmap] = []


def guarded(array: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy of an array that ends (or begins) exactly where a page without access begins (or ends)."""
    pages = -(-max(array.nbytes, 1) // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    _kept.append(memory)
    inside = np.frombuffer(memory, np.uint8)[PAGE : (pages + 1) * PAGE]
    inside = inside[inside.size - array.nbytes :] if at_end else inside[: array.nbytes]
    copy = inside.view(array.dtype).reshape(array.shape)
    copy[...] = array
    start = np.frombuffer(memory, np.uint8).ctypes.data
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for guard in (start, start + (pages + 1) * PAGE):
        if protect(guard, PAGE, NO_ACCESS):
            raise OSError(ctypes.get_errno(), "mprotect")
    return copy


def guarded_shared_memory(size: int) -> int:
    """As work.shared_memory, but against a guard page, up to the 64 bytes to which it is aligned."""
    return guarded(np.empty(-(-size // 64) * 64, np.uint8), at_end=True).ctypes.data


def main() -> None:
    """Runs all ops with all operands against a guard page, first at their ends, then at their beginnings."""
    work.shared_memory = guarded_shared_memory
    for at_end in (True, False):
        for dtype in (np.float32, np.float64):
            for run in (
                run_convolutions,
                run_poolings,
                run_up_samplings,
                run_frames,
                run_prelu,
                run_normalizations,
                run_products,
                run_activations,
                run_bfloat16,
            ):
                for actual, expected in run(dtype, at_end):
                    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5, err_msg=run.__name__)
    print(host().vector_bytes)


def run_amx() -> None:
    """As main, for the products of bfloat16 with AMX's instructions emulated."""
    work.shared_memory = guarded_shared_memory
    with mock.patch.object(bfloat16_product, "with_amx", return_value=True):
        for at_end in (True, False):
            for actual, expected in run_bfloat16(np.float32, at_end):
                np.testing.assert_array_equal(actual, expected)


Pairs = Iterator[tuple[np.ndarray, np.ndarray]]


class Operands:
    """Draws guarded operands and outputs."""

    def __init__(self, dtype: type, at_end: bool) -> None:
        self.dtype, self.at_end, self.rng = dtype, at_end, np.random.default_rng(0)

    def of(self, *shape: int) -> np.ndarray:
        return guarded(self.rng.integers(-4, 5, shape).astype(self.dtype), self.at_end)

    def out(self, *shape: int) -> np.ndarray:
        return guarded(np.full(shape, np.nan, self.dtype), self.at_end)


def run_convolutions(dtype: type, at_end: bool) -> Pairs:
    operands = Operands(dtype, at_end)
    documented = [c.with_batch(2) for c in cases.DOCUMENTED if isinstance(c, ConvCase)]
    large = CUT_CONVS if dtype is np.float32 else ()
    for case in (*cases.ODD, *documented, *large):
        x, w, b, grad_y = (operands.of(*s) for s in (case.x_shape, case.w_shape, (case.cout,), case.y_shape))
        y = kernels.conv2d(x, w, b, out=operands.out(*case.y_shape), **case.options)
        yield y, reference.conv2d(x, w, b, **case.options)
        grad_x = kernels.conv2d_grad_input(grad_y, w, x.shape, out=operands.out(*x.shape), **case.options)
        yield grad_x, reference.conv2d_grad_input(grad_y, w, x.shape, **case.options)
        grad_w = kernels.conv2d_grad_weights(x, grad_y, w.shape, out=operands.out(*w.shape), **case.options)
        yield grad_w, reference.conv2d_grad_weights(x, grad_y, w.shape, **case.options)
        if (case.kernel, case.strides, case.dilation, case.groups) == ((3, 3), (1, 1), (1, 1), 1):
            options = {**case.options, "algorithm": "winograd2x2"}
            yield kernels.conv2d(x, w, b, out=operands.out(*y.shape), **options), y
            grad = kernels.conv2d_grad_input(grad_y, w, x.shape, out=operands.out(*x.shape), **options)
            yield grad, grad_x
            if dtype is np.float64:
                options["algorithm"] = "winograd"
                yield kernels.conv2d(x, w, b, out=operands.out(*y.shape), **options), y


def run_bfloat16(dtype: type, at_end: bool) -> Pairs:
    """Convolutions and products whose operands are rounded to bfloat16, whether that pays or not; these integers are bfloat16."""
    if dtype is not np.float32 or host().bfloat16 is None:
        return
    precision.set_matmul_precision("bfloat16")
    with (
        mock.patch.multiple(
            bfloat16_pays, forward=_one_group, grad_input=_one_group, grad_weights=_one_group
        ),
        mock.patch.object(bfloat16_pays, "matmul", return_value=True),
    ):
        yield from run_convolutions(dtype, at_end)
        yield from run_products(dtype, at_end)
    precision.set_matmul_precision("float32")


def _one_group(conv: Conv) -> bool:
    return conv.groups == 1


def run_poolings(dtype: type, at_end: bool) -> Pairs:
    operands = Operands(dtype, at_end)
    documented = [c.with_batch(2) for c in cases.DOCUMENTED if isinstance(c, PoolCase)]
    for case in (*cases.ODD_POOLS, *documented):
        x, grad_y = operands.of(*case.x_shape), operands.of(*case.y_shape)
        y, indices = kernels.max_pool2d(
            x, case.pool_size, return_indices=True, out=operands.out(*case.y_shape), **case.options
        )
        expected = reference.max_pool2d(x, case.pool_size, return_indices=True, **case.options)
        yield y, expected[0]
        yield indices, expected[1]
        grad_x = kernels.max_pool2d_grad(
            grad_y,
            x,
            case.pool_size,
            indices=guarded(indices, at_end),
            out=operands.out(*x.shape),
            **case.options,
        )
        yield grad_x, reference.max_pool2d_grad(grad_y, x, case.pool_size, **case.options)
        y = kernels.min_pool2d(x, case.pool_size, out=operands.out(*case.y_shape), **case.options)
        yield y, reference.min_pool2d(x, case.pool_size, **case.options)
        y = kernels.average_pool2d(x, case.pool_size, out=operands.out(*case.y_shape), **case.options)
        yield y, reference.average_pool2d(x, case.pool_size, **case.options)
        grad_x = kernels.average_pool2d_grad(
            grad_y, x.shape, case.pool_size, out=operands.out(*x.shape), **case.options
        )
        yield grad_x, reference.average_pool2d_grad(grad_y, x.shape, case.pool_size, **case.options)


def run_up_samplings(dtype: type, at_end: bool) -> Pairs:
    operands = Operands(dtype, at_end)
    for (n, h, w, c), (sh, sw) in (((1, 1, 1, 1), (2, 3)), ((2, 4, 5, 3), (2, 2)), ((3, 3, 2, 33), (1, 4))):
        x, grad_y = operands.of(n, h, w, c), operands.of(n, h * sh, w * sw, c)
        for how in ("nearest", "bilinear"):
            y = kernels.up_sampling2d(x, (sh, sw), interpolation=how, out=operands.out(*grad_y.shape))
            yield y, reference.up_sampling2d(x, (sh, sw), interpolation=how)
            grad_x = kernels.up_sampling2d_grad(
                grad_y, (sh, sw), interpolation=how, out=operands.out(*x.shape)
            )
            yield grad_x, reference.up_sampling2d_grad(grad_y, (sh, sw), interpolation=how)


def run_frames(dtype: type, at_end: bool) -> Pairs:
    operands = Operands(dtype, at_end)
    for (n, h, w, c), (rows, columns) in (
        ((1, 1, 1, 1), ((2, 0), (0, 1))),
        ((2, 4, 5, 3), ((1, 1), (0, 3))),
        ((3, 3, 2, 33), ((0, 1), (2, 1))),
    ):
        x, y_shape = operands.of(n, h, w, c), (n, h + sum(rows), w + sum(columns), c)
        padded = kernels.zero_padding2d(x, (rows, columns), out=operands.out(*y_shape))
        yield padded, reference.zero_padding2d(x, (rows, columns))
        yield kernels.cropping2d(guarded(padded, at_end), (rows, columns), out=operands.out(*x.shape)), x


def run_prelu(dtype: type, at_end: bool) -> Pairs:
    operands = Operands(dtype, at_end)
    for shape, alpha in (
        ((1, 1, 1, 1), (1, 1, 1)),
        ((2, 4, 5, 3), (4, 5, 3)),
        ((3, 3, 2, 33), (1, 1, 33)),
        ((2, 2, 9, 7), (2, 1, 1)),
    ):
        x, grad_y, slopes = operands.of(*shape), operands.of(*shape), operands.of(*alpha)
        yield kernels.prelu(x, slopes, out=operands.out(*shape)), reference.prelu(x, slopes)
        grads = kernels.prelu_grad(grad_y, x, slopes, out=operands.out(*shape))
        yield from zip(grads, reference.prelu_grad(grad_y, x, slopes), strict=True)


def run_normalizations(dtype: type, at_end: bool) -> Pairs:
    operands = Operands(dtype, at_end)
    for shape in ((1, 1), (23, 3), (2, 5, 7, 16), (3, 70), (300, 33)):
        x, grad_y = operands.of(*shape), operands.of(*shape)
        gamma, beta = operands.of(shape[-1]), operands.of(shape[-1])
        y, mean, variance = kernels.batch_normalization_train(x, gamma, beta, out=operands.out(*shape))
        yield y, reference.batch_normalization_train(x, gamma, beta)[0]
        grads = kernels.batch_normalization_grad(grad_y, x, mean, variance, gamma, out=operands.out(*shape))
        yield from zip(
            grads, reference.batch_normalization_grad(grad_y, x, mean, variance, gamma), strict=True
        )


def run_products(dtype: type, at_end: bool) -> Pairs:
    operands = Operands(dtype, at_end)
    blocked = [
        MatmulCase(f"blocked_{a}{b}", 50, 45, 1024, a, b) for a in (False, True) for b in (False, True)
    ]
    lines = [
        MatmulCase("row", 1, 67, 45, transpose_b=True),
        MatmulCase("column", 67, 1, 45, transpose_a=True),
    ]
    for case in (*cases.ODD_MATMULS, *blocked, *lines):
        a, b, bias = (operands.of(*s) for s in (case.a_shape, case.b_shape, (case.n,)))
        c = kernels.matmul(a, b, bias=bias, out=operands.out(*case.y_shape), **case.options)
        yield c, reference.matmul(a, b, bias=bias, **case.options)
        expected = reference.matmul(a, b, alpha=2, beta=3, out=c, **case.options)
        yield kernels.matmul(a, b, alpha=2, beta=3, out=c, **case.options), expected


def run_activations(dtype: type, at_end: bool) -> Pairs:
    operands = Operands(dtype, at_end)
    for name in ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax"):
        for shape in ((1,), (5, 7), (3, 33)):
            x, grad_y = operands.of(*shape), operands.of(*shape)
            y = getattr(kernels, name)(x, out=operands.out(*shape))
            yield y, getattr(reference, name)(x)
            grad_x = getattr(kernels, f"{name}_grad")(grad_y, guarded(y, at_end), out=operands.out(*shape))
            yield grad_x, getattr(reference, f"{name}_grad")(grad_y, y)
    for shape in ((1, 1), (5, 7), (3, 33)):
        logits = operands.of(*shape)
        labels = guarded(np.arange(shape[0], dtype=np.int32) % shape[1], at_end)
        losses, grad = kernels.softmax_cross_entropy(
            logits, labels, return_grad=True, out=operands.out(shape[0])
        )
        yield losses, reference.softmax_cross_entropy(logits, labels)
        yield grad, reference.softmax_cross_entropy_grad(logits, labels)


def read_outside() -> None:
    """What the guard is for: an op that is told of one number more than there is."""
    x = guarded(np.ones(64, np.float32), at_end=True)
    print(kernels.relu(x).sum(), flush=True)
    longer = np.lib.stride_tricks.as_strided(x, (65,))
    print(kernels.relu(longer).sum(), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["outside"]:
            read_outside()
        case ["amx"]:
            run_amx()
