"""What launches move and multiply, counted by the interpreter of tools/ptx on one block of each: the first, which is a whole tile.

The device is an H100's shape, 132 multiprocessors of compute capability 9.0, so a plan has the tiles and the parts of sums that it
would have there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np
from cases import ConvCase, MatmulCase, PoolCase
from interpreted import Interpreted

from cnnlite_kernels.cuda import activations, conv2d, gradients, matmul, max_pool2d, optimizers, tensor_conv2d
from cnnlite_kernels.cuda.geometry import Geometry
from cnnlite_kernels.cuda.kernel import Kernel, Launch
from cnnlite_kernels.cuda.plan import Plan
from cnnlite_kernels.cuda.tile import DEPTH
from cnnlite_kernels.precision import get_matmul_precision, set_matmul_precision
from cnnlite_kernels.settings import OPTIMIZER
from tools.cuda_static.roofline import MULTIPROCESSORS
from tools.ptx import counters
from tools.ptx.parser import Kernel as Entry

SECTOR = counters.SECTOR
COUNT = 1 << 20  # numbers of elementwise samples


class Cost(NamedTuple):
    """Of one launch, from its first block.

    Attributes:
        kernel: that is launched, in `blocks` blocks.
        fma, mma: multiply-adds of a block, outside and on tensor cores.
        loads, stores: sectors that the block's warps ask global memory for, and the fewest that would do for the same bytes.
        conflicts: turns of shared memory that the block loses to bank conflicts in its hot loop, and elsewhere.
        moved: bytes of the different sectors that the block asks for: what has to reach it if it finds the rest in its L1 cache.
        arrays: bytes of the launch's arrays, each once.
    """

    kernel: Kernel
    blocks: int
    fma: int
    mma: int
    loads: counters.Access
    stores: counters.Access
    conflicts: tuple[int, int]
    moved: int
    arrays: int


class Counting(Interpreted):
    """A device that runs the first block of each launch and keeps its cost."""

    multiprocessors = MULTIPROCESSORS

    def __init__(self) -> None:
        super().__init__((9, 0), check=False)
        self.costs: list[Cost] = []

    def run(self, launches: list[Launch]) -> None:
        for launch in launches:
            machine = self._machine(launch)
            with _sectors() as touched:
                found = machine.launch(
                    launch.blocks, launch.kernel.threads, *launch.args, blocks=[0], count=True
                )
            assert found is not None
            hot = hot_instructions(machine.kernel)
            inside = sum(
                counters.total(shared, hot).conflicts for shared in (found.shared_load, found.shared_store)
            )
            arrays = {arg.ctypes.data: arg.nbytes for arg in launch.args if isinstance(arg, np.ndarray)}
            self.costs.append(
                Cost(
                    launch.kernel,
                    launch.blocks,
                    found.fma,
                    found.mma,
                    counters.total(found.global_load),
                    counters.total(found.global_store),
                    (inside, found.bank_conflicts - inside),
                    len(touched) * SECTOR,
                    sum(arrays.values()),
                )
            )


def hot_instructions(kernel: Entry) -> range:
    """The numbers of the instructions of the PTX loop with the most multiply-adds, the shortest of such; none where there is none."""
    math = [one.number for one in kernel.instructions if one.name in ("fma", "mma")]
    best, most = range(0), 0
    for one in kernel.instructions:
        if one.name == "bra" and kernel.labels[one.operands[0]] <= one.number:
            loop = range(kernel.labels[one.operands[0]], one.number + 1)
            amount = sum(number in loop for number in math)
            if amount > most or (amount == most > 0 and len(loop) < len(best)):
                best, most = loop, amount
    return best


@contextmanager
def _sectors() -> Iterator[set[int]]:
    """The sectors of global memory that are asked for meanwhile."""
    touched: set[int] = set()
    count = counters.global_access

    def also_keep(address: np.ndarray, active: np.ndarray, item: int) -> counters.Access:
        touched.update(np.unique(address[active] // SECTOR).tolist())
        return count(address, active, item)

    counters.global_access = also_keep
    try:
        yield touched
    finally:
        counters.global_access = count


def costs_of(emit: Callable[[Plan], None], precision: str = "float32") -> list[Cost]:
    """The costs of the launches that `emit` puts on a plan."""
    device = Counting()
    plan = Plan(device)
    before = get_matmul_precision()
    set_matmul_precision(precision)
    try:
        emit(plan)
    finally:
        set_matmul_precision(before)
    plan.run()
    return device.costs


def emit_forward(case: ConvCase | PoolCase | MatmulCase, plan: Plan) -> None:
    """A layer's forward pass, bias and all, on arrays that hold anything."""
    floats = partial(_floats, plan)
    if isinstance(case, MatmulCase):
        a, b, c = (floats(prod(shape)) for shape in (case.a_shape, case.b_shape, case.y_shape))
        matmul.add_matmul(plan, a, b, c, case.m, case.n, case.k, bias=floats(case.n), **case.options)
    elif isinstance(case, PoolCase):
        x, y = floats(prod(case.x_shape)), floats(prod(case.y_shape))
        max_pool2d.add_forward(plan, case.window, *case.x_shape, x, y, plan.device.empty(y.size, np.int32))
    else:
        g, x, w, y = _operands(case, plan)
        add = tensor_conv2d.add_forward if tensor_conv2d.takes(plan, g) else conv2d.add_forward
        add(plan, g, x, w, floats(case.cout), y)


def emit_grad_input(case: ConvCase, plan: Plan) -> None:
    """A convolution's gradient with respect to its input."""
    g, x, w, y = _operands(case, plan)
    conv2d.add_grad_input(plan, g, y, w, x)


def emit_grad_weights(case: ConvCase, plan: Plan) -> None:
    """A convolution's gradient with respect to its weights."""
    g, x, w, y = _operands(case, plan)
    conv2d.add_grad_weights(plan, g, x, y, w)


def needed_by_first_tile(case: ConvCase, rows: int, columns: int, blocks: int) -> int:
    """Bytes that the first tile of a forward pass needs once, whichever way it computes: pixels under its rows, weights, outputs.

    Args:
        rows, columns: of the tile.
        blocks: of the launch: where they are more than tiles, the sum is cut along the channels, in steps of DEPTH.
    """
    g = Geometry.of(case.window, case.n, case.h, case.w, case.cin, case.cout, case.groups)
    row = np.arange(min(rows, g.pixels))
    image, p, q = row // (g.oh * g.ow), row // g.ow % g.oh, row % g.ow
    pixels: set[int] = set()
    for i in range(g.kh):
        for k in range(g.kw):
            down, right = p * g.sh + i * g.dh - g.top, q * g.sw + k * g.dw - g.left
            inside = (down >= 0) & (down < g.h) & (right >= 0) & (right < g.w)
            pixels.update(((image * g.h + down) * g.w + right)[inside].tolist())
    parts = blocks // (-(-g.pixels // rows) * -(-g.cout // columns))
    channels = -(-g.cin // (DEPTH * parts)) * DEPTH
    columns = min(columns, g.cout)
    return 4 * (len(pixels) * channels + channels * g.taps * columns + len(row) * columns)


def samples() -> Iterator[tuple[str, Callable[[Plan], None]]]:
    """What the table of memory traffic runs: of every kind of kernel one or more, on arrays of some size."""
    for transposes in ((False, False), (False, True), (True, False), (True, True)):
        yield "4096 x 4096 x 256", partial(emit_forward, MatmulCase("square", 4096, 4096, 256, *transposes))
    yield "2048 x 64 x 256", partial(emit_forward, MatmulCase("tall", 2048, 64, 256))
    yield "32 x 64 x 576", partial(emit_forward, MatmulCase("dense1", 32, 64, 576))
    yield "32 x 10 x 64", partial(emit_forward, MatmulCase("dense2", 32, 10, 64))
    wide = ConvCase("wide", 32, 28, 28, 128, 128, (3, 3), padding="same")
    middle = ConvCase("middle", 32, 13, 13, 32, 64, (3, 3))
    first = ConvCase("first", 32, 28, 28, 1, 32, (3, 3))
    depthwise = ConvCase("depthwise", 32, 28, 28, 64, 64, (3, 3), padding="same", groups=64)
    for case in (wide, middle, first, depthwise):
        shape = f"{case.h} x {case.w} x {case.cin}, {case.kernel[0]} x {case.kernel[1]} to {case.cout}"
        for emit in (emit_forward, emit_grad_input, emit_grad_weights):
            yield shape, partial(emit, case)
    yield "26 x 26 x 32", partial(emit_forward, PoolCase("pool", 32, 26, 26, 32, (2, 2)))
    yield "2^20 numbers", _emit_relu
    yield "2^20 numbers", _emit_relu_gradient
    yield "1024 rows of 1000", _emit_softmax
    yield "2^14 rows of 64", _emit_bias_gradient
    yield "2^20 numbers", _emit_adam


def tensor_samples() -> Iterator[tuple[str, Callable[[Plan], None]]]:
    """The same on tensor cores."""
    for transposes in ((False, False), (True, True)):
        yield "4096 x 4096 x 256", partial(emit_forward, MatmulCase("square", 4096, 4096, 256, *transposes))
    wide = ConvCase("wide", 32, 28, 28, 128, 128, (3, 3), padding="same")
    yield "28 x 28 x 128, 3 x 3 to 128", partial(emit_forward, wide)
    yield "28 x 28 x 128, 3 x 3 to 128", partial(_emit_tensor_grad_weights, wide)


def _emit_relu(plan: Plan) -> None:
    activations.add_forward(plan, "relu", _floats(plan, COUNT), _floats(plan, COUNT), COUNT, 1)


def _emit_relu_gradient(plan: Plan) -> None:
    y, grad_y, grad_x = (_floats(plan, COUNT) for _ in range(3))
    activations.add_grad(plan, "relu", y, grad_y, grad_x, COUNT, 1)


def _emit_softmax(plan: Plan) -> None:
    rows, c = 1024, 1000
    activations.add_forward(plan, "softmax", _floats(plan, rows * c), _floats(plan, rows * c), rows, c)


def _emit_bias_gradient(plan: Plan) -> None:
    rows, c = 1 << 14, 64
    gradients.add_bias_grad(plan, _floats(plan, rows * c), _floats(plan, c), rows, c)


def _emit_adam(plan: Plan) -> None:
    parameters, grads, first, second = (_floats(plan, COUNT) for _ in range(4))
    settings = plan.device.empty(len(OPTIMIZER), np.float64)
    optimizers.add_step(plan, "adam", (), parameters, grads, settings, (first, second), COUNT)


def _emit_tensor_grad_weights(case: ConvCase, plan: Plan) -> None:
    g, x, w, y = _operands(case, plan)
    tensor_conv2d.add_grad_weights(plan, g, x, y, w)


def _operands(case: ConvCase, plan: Plan) -> tuple[Geometry, Any, Any, Any]:
    """The geometry, x, w and y."""
    g = Geometry.of(case.window, case.n, case.h, case.w, case.cin, case.cout, case.groups)
    return g, *(_floats(plan, prod(shape)) for shape in (case.x_shape, case.w_shape, case.y_shape))


def _floats(plan: Plan, count: int) -> Any:
    return plan.device.empty(count, np.float32)
