"""Every kernel by name, with what it may cost: one list that tests, tables and warm-up go through.

A budget is a promise about machine code: tests/test_cuda_budget.py compiles every entry for every architecture and fails where
one is broken. No kernel may have a stack or spill a register, so a budget does not say so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from cnnlite_kernels.cuda import (
    activations,
    average_pool2d,
    batch_normalization,
    conv2d_grad_weights,
    conv2d_taps,
    convert,
    depthwise,
    dropout,
    frames,
    gradients,
    joins,
    losses,
    matmul,
    max_pool2d,
    narrow,
    optimizers,
    penalties,
    prelu,
    reduce,
    tensor_grad_weights,
    tensor_matmul,
    tensor_tile,
    tile,
    up_sampling2d,
)
from cnnlite_kernels.cuda.activations import LEAKY_RELU, RELU6
from cnnlite_kernels.cuda.epilogue import NONE, RELU, SIGMOID, TANH
from cnnlite_kernels.cuda.kernel import Capability, Kernel
from cnnlite_kernels.cuda.ops import contiguous
from cnnlite_kernels.cuda.tensor_intrinsics import BF16, TF32
from cnnlite_kernels.settings import ABSOLUTE, BINARY, BINARY_LOGITS, DIVERGENCE, HINGE, HUBER, SQUARED

ALL: tuple[Capability, ...] = ((7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))
TENSOR: tuple[Capability, ...] = ALL[1:]
REGISTERS = 65536  # of a multiprocessor


class Budget(NamedTuple):
    """The most that a kernel may need, and the least that its hot loop must be made of, on every architecture.

    Attributes:
        registers: of a thread.
        shared: bytes of shared memory of a block.
        blocks: the fewest that a multiprocessor must be able to hold at once.
        loop: the arithmetic of its hot loop: "FFMA", "HMMA" (which allows no FFMA in the loop), or None where no loop decides.
        share: the least part of the hot loop's instructions that is that arithmetic.
        wide: all loads of the hot loop, of global and of shared memory, move 128 bits a thread.
        copies: the hot loop brings its operands with asynchronous copies and fetches them with ldmatrix.
        doubles: it works in float64 though its arrays are float32: on purpose, and outside hot loops.
    """

    registers: int
    shared: int = 0
    blocks: int = 1
    loop: str | None = None
    share: float = 0.0
    wide: bool = False
    copies: bool = False
    doubles: bool = False


class Entry(NamedTuple):
    """A kernel of the catalogue.

    Attributes:
        name: a word that says which variant it is, no other entry's.
        family: the heading that its tables stand under.
        make: gives the kernel; compiles nothing.
        budget: see Budget.
        dtype: that `Reals` stand for.
        capabilities: that it is for.
    """

    name: str
    family: str
    make: Callable[[], Kernel]
    budget: Budget
    dtype: Any = np.float32
    capabilities: tuple[Capability, ...] = ALL


def _limit(threads: int, blocks: int) -> int:
    """Registers that a thread may have for so many blocks to fit a multiprocessor."""
    return min(255, REGISTERS // (threads * blocks) // 8 * 8)


def _given(kernel: Kernel) -> Callable[[], Kernel]:
    return lambda: kernel


def _matmul() -> Iterator[Entry]:
    family = "Matrix products, float32"
    for wide, tiles in ((True, tile.TILES), (False, matmul.GUARDED)):
        for one, (ta, tb) in product(tiles, product((False, True), repeat=2)):
            name = f"matmul {one} {'t' if ta else 'n'}{'t' if tb else 'n'}{'' if wide else ' scalar'}"
            large = wide and one.thread_rows == one.thread_columns == 8
            registers = _limit(one.threads, one.blocks if wide else one.blocks // 2)
            budget = Budget(registers, 17 * 1024, 2, "FFMA", 0.85 if large else 0.55, wide=large)
            yield Entry(name, family, partial(matmul.matmul, one, ta, tb, wide), budget)
    yield Entry("reduce", family, _given(reduce.reduce), Budget(40))


def _conv2d() -> Iterator[Entry]:
    family = "Convolutions, float32"
    for wide, tiles in ((True, conv2d_taps.TILES), (False, conv2d_taps.GUARDED)):
        for one in tiles:
            makes: dict[str, Callable[[], Kernel]] = {
                "conv2d": partial(conv2d_taps.taps_product, one, False, wide),
                "conv2d grad_input": partial(conv2d_taps.taps_product, one, True, wide),
                "conv2d grad_weights": partial(conv2d_grad_weights.pixels_product, one, wide),
            }
            for name, make in makes.items():
                share = 0.85 if wide and one is tile.LARGE else 0.75 if wide and one.thread_rows == 8 else 0.4
                budget = Budget(
                    _limit(one.threads, one.blocks), 20 * 1024, 2, "FFMA", share, wide=wide and share > 0.4
                )
                yield Entry(f"{name} {one}{'' if wide else ' scalar'}", family, make, budget)
    for one, wide in product((narrow.SLIM, narrow.SMALL, narrow.TALL), (True, False)):
        budget = Budget(_limit(one.threads, one.blocks), 20 * 1024, 2, "FFMA", 0.4)
        name = f"conv2d, few channels, {one}{'' if wide else ' scalar'}"
        yield Entry(name, family, partial(narrow.terms_product, one, wide), budget)
    for wide in (True, False):
        how = "" if wide else " scalar"
        yield Entry(f"depthwise{how}", family, partial(depthwise.forward, wide), Budget(64))
        yield Entry(f"depthwise grad_input{how}", family, partial(depthwise.grad_input, wide), Budget(64))
    yield Entry("depthwise grad_weights", family, _given(depthwise.depthwise_grad_weights), Budget(64, 4096))


def _tensor() -> Iterator[Entry]:
    family = "Tensor cores"
    for precision, name in ((TF32, "tf32"), (BF16, "bf16")):
        for one in tensor_tile.TILES:
            budget = Budget(
                _limit(one.threads, one.blocks), 4 * one.words, 2, "HMMA", 0.15, wide=True, copies=True
            )
            make = partial(tensor_matmul.product, precision, one)
            yield Entry(f"product {one} {name}", family, make, budget, capabilities=TENSOR)
            make = partial(tensor_grad_weights.grad_weights, precision, one)
            # Its operands lie the other way round, which ldmatrix transposes for numbers of 16 bits only.
            budget = budget._replace(wide=precision == BF16, copies=precision == BF16, share=0.1)
            yield Entry(f"conv2d grad_weights {one} {name}", family, make, budget, capabilities=TENSOR)
        for wide in (True, False):
            make = partial(convert.pack_rows, precision, wide)
            yield Entry(
                f"pack_rows {name}{'' if wide else ' scalar'}", family, make, Budget(40), capabilities=TENSOR
            )
        make = partial(convert.pack_columns, precision)
        yield Entry(f"pack_columns {name}", family, make, Budget(40), capabilities=TENSOR)


def _pooling() -> Iterator[Entry]:
    family = "Max and min pooling"
    for (size, registers), with_index, minimum in product(
        (((2, 2), 40), ((3, 3), 48), ((0, 0), 64)), (0, 1), (0, 1)
    ):
        of = f"{size[0]} x {size[1]}" if size in max_pool2d.UNROLLED else "of any size"
        name = f"{'min' if minimum else 'max'} pooling {of}{', places' if with_index else ''}"
        make = partial(max_pool2d.forward, *size, with_index, minimum)
        yield from _both(name, family, make, registers, registers)
    for with_relu in (0, 1):
        make = partial(max_pool2d.backward, with_relu)
        yield from _both(f"max pooling gradient{' and relu' if with_relu else ''}", family, make, 40, 40)
    family = "Average pooling"
    for large, registers, registers64 in ((0, 56, 64), (1, 56, 64)):
        make = partial(average_pool2d.forward, large)
        name = f"average pooling{' of large windows' * large}"
        yield from _both(name, family, make, registers, registers64, doubles=bool(large))
    yield from _both("average pooling gradient", family, _given(average_pool2d.average_pool2d_grad), 40, 48)


def _up_sampling() -> Iterator[Entry]:
    family = "Enlarging"
    for bilinear, name in enumerate(("nearest", "bilinear")):
        yield from _both(f"{name} enlarging", family, partial(up_sampling2d.forward, bilinear), 40, 48)
        yield from _both(
            f"{name} enlarging gradient", family, partial(up_sampling2d.backward, bilinear), 64, 64
        )


def _frames() -> Iterator[Entry]:
    family = "Frames and joins"
    yield from _wide("frame", family, frames.frame, 40)
    for accumulate, name in enumerate(("copy of channels", "sum of channels")):
        yield from _wide(name, family, partial(joins.copy, accumulate), 40)


def _normalization() -> Iterator[Entry]:
    family = "Batch normalization"
    for name, registers, registers64 in (
        ("channel_statistics", 40, 48),
        ("collect_statistics", 32, 48),
        ("scales", 24, 32),
        ("sum_gradients", 48, 56),
        ("coefficients", 24, 32),
    ):
        make = _given(getattr(batch_normalization, name))
        for dtype, most in ((np.float32, registers), (np.float64, registers64)):
            # three numbers of each thread, so that it can add up those of others
            budget = Budget(most, 3 * 256 * np.dtype(dtype).itemsize)
            suffix = "" if dtype == np.float32 else ", float64"
            yield Entry(f"batch normalization {name.replace('_', ' ')}{suffix}", family, make, budget, dtype)
    yield from _wide("batch normalization", family, batch_normalization.forward, 40)
    yield from _wide("batch normalization gradient", family, batch_normalization.backward, 40)


def _elementwise() -> Iterator[Entry]:
    family = "Activations, sums and dropout"
    kinds = {RELU: "relu", RELU6: "relu6", LEAKY_RELU: "leaky relu", SIGMOID: "sigmoid", TANH: "tanh"}
    for kind, name in kinds.items():
        yield from _wide(name, family, partial(activations.forward, kind), 32)
        yield from _wide(f"{name} gradient", family, partial(activations.backward, kind), 32)
    for lanes, registers, registers64 in ((1, 56, 80), (32, 32, 40), (256, 32, 40)):
        of = f"{lanes} {'thread' if lanes == 1 else 'threads'} a row"
        yield from _both(
            f"softmax, {of}", family, partial(activations.softmax_forward, lanes), registers, registers64
        )
        make = partial(activations.softmax_backward, lanes)
        yield from _both(f"softmax gradient, {of}", family, make, registers, registers64)
    yield from _both("prelu", family, _given(prelu.prelu), 48, 48)
    for lanes, registers, registers64 in ((1, 40, 56), (32, 32, 32), (256, 32, 32)):
        name = f"sums over a middle axis, {lanes} {'thread' if lanes == 1 else 'threads'} each"
        yield from _both(name, family, partial(prelu.middle_sums, lanes), registers, registers64)
    yield from _wide("add", family, activations.add_to, 32)
    yield from _both("fill", family, _given(activations.fill), 24, 24)
    yield from _both("copy of any strides", family, _given(contiguous.copy_strided), 40, 40)
    yield from _wide("dropout", family, dropout.apply, 56)


def _losses() -> Iterator[Entry]:
    family = "Losses"
    for lanes, sparse, with_grad in product((1, 32, 256), (0, 1), (0, 1)):
        of = f"{'labels' if sparse else 'targets'}{', gradient' if with_grad else ''}"
        name = f"cross-entropy of {of}, {lanes} {'thread' if lanes == 1 else 'threads'} a row"
        yield from _both(
            name, family, partial(losses.softmax_cross_entropy, lanes, sparse, with_grad), 48, 80
        )
    kinds = {
        BINARY: "binary cross-entropy",
        BINARY_LOGITS: "binary cross-entropy of logits",
        SQUARED: "squared error",
        ABSOLUTE: "absolute error",
        DIVERGENCE: "divergence",
        HINGE: "hinge",
        HUBER: "Huber loss",
    }
    for lanes, kind, with_grad in product((1, 32, 256), kinds, (0, 1)):
        of = f"{kinds[kind]}{', gradient' if with_grad else ''}"
        name = f"{of}, {lanes} {'thread' if lanes == 1 else 'threads'} a row"
        yield from _both(name, family, partial(losses.elementwise, lanes, kind, with_grad), 64, 96)


def _gradients() -> Iterator[Entry]:
    family = "Gradients and optimizers"
    for name in ("regularize", "clip_values"):
        yield from _both(name, family, _given(getattr(gradients, name)), 24, 24)
    for name in ("sum_squares", "clip_norm"):
        yield from _both(name, family, _given(getattr(gradients, name)), 32, 32, doubles=True)
    yield Entry("penalty", family, _given(penalties.penalty), Budget(40, 1024, doubles=True))
    kinds = {
        NONE: "", RELU: " behind relu", RELU6: " behind relu6", LEAKY_RELU: " behind leaky relu", SIGMOID: " behind sigmoid",
        TANH: " behind tanh", gradients.SLOPE: " of PReLU's slope",
    }  # fmt: skip
    for kind, columns in product(kinds, gradients.COLUMNS):
        make = partial(gradients.column_sums, columns, kind)
        name = f"sums of {columns} {'column' if columns == 1 else 'columns'}{kinds[kind]}"
        yield from _both(name, family, make, 48 if kind == gradients.SLOPE else 40, 48)
    for momentum in (0, 1):
        name = f"sgd{' with momentum' if momentum else ''}"
        yield from _both(name, family, partial(optimizers.sgd, momentum), 32, 40, doubles=True)
    yield from _both("adam", family, optimizers.adam, 40, 48, doubles=True)
    for momentum, centered in product((0, 1), repeat=2):
        name = f"rmsprop{', centered' if centered else ''}{' with momentum' if momentum else ''}"
        yield from _both(name, family, partial(optimizers.rmsprop, momentum, centered), 32, 48, doubles=True)


def _both(
    name: str,
    family: str,
    make: Callable[[], Kernel],
    registers: int,
    registers64: int,
    doubles: bool = False,
) -> Iterator[Entry]:
    """A kernel for either dtype, which keeps at most a few numbers of each thread in shared memory."""
    yield Entry(name, family, make, Budget(registers, 1024, doubles=doubles))
    yield Entry(f"{name}, float64", family, make, Budget(registers64, 2048), np.float64)


def _wide(name: str, family: str, make: Callable[[int], Kernel], registers: int) -> Iterator[Entry]:
    """A kernel of numbers that come four at a time, where they are aligned float32, or one."""
    yield Entry(f"{name} by four", family, partial(make, 4), Budget(registers))
    yield from _both(name, family, partial(make, 1), registers, registers)


CATALOGUE: tuple[Entry, ...] = (
    *_matmul(),
    *_conv2d(),
    *_tensor(),
    *_pooling(),
    *_up_sampling(),
    *_frames(),
    *_normalization(),
    *_elementwise(),
    *_losses(),
    *_gradients(),
)
