"""One pass of one convolution of bfloat16 as it runs inside a network: activations are bfloat16 already, weights packed before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cnnlite_kernels.cpu import bfloat16_conv2d as emit
from cnnlite_kernels.cpu import bfloat16_grad_weights as by_pixels
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.host import host
from cnnlite_kernels.cpu.images import Images
from cnnlite_kernels.cpu.memory import pointer_to
from cnnlite_kernels.cpu.plan import LINE, Job, Part, Plan
from cnnlite_kernels.window import Window2D
from peers.operands import conv_inputs
from peers.protocol import Absent, Measurement, Request


def buffer(size: int) -> np.ndarray:
    """`size` bytes from the beginning of a cache line."""
    memory = np.zeros(size + LINE, np.uint8)
    return memory[-memory.ctypes.data % LINE :][:size]


@dataclass
class Layer:
    """The operands, in memory of which `kept` is the owner."""

    conv: Conv
    x: Images  # float32
    w: np.ndarray
    grad_y: Images
    kept: list[np.ndarray]

    def space(self, images: Images, halo=((0, 0), (0, 0))) -> tuple[Images, np.ndarray]:
        """Images of bfloat16 of the same size, and their bytes."""
        to = images._replace(halo=halo)
        self.kept.append(memory := buffer(2 * to.size))
        return to._replace(start=pointer_to(memory)), memory

    def rounded(self, images: Images, halo=((0, 0), (0, 0))) -> Images:
        """Images of bfloat16 of the same numbers, halo included."""
        to, _ = self.space(images, halo)
        plan = Plan()
        emit.add_round(plan, images, to)
        Job([[Part(plan)]]).run()
        return to


def layer(request: Request) -> Layer:
    """The layer's operands."""
    given = conv_inputs(request)
    n, h, w, cin = given.x.shape
    oh, ow, cout = given.grad_y.shape[1:]
    window = Window2D.of(given.w.shape[:2], given.strides, given.dilation, given.pads)
    x, grad_y = Images(pointer_to(given.x), n, h, w, cin), Images(pointer_to(given.grad_y), n, oh, ow, cout)
    return Layer(Conv(window, h, w, cin, cout), x, given.w, grad_y, [given.x, given.grad_y])


def measured(at: Layer, plan: Plan, found: np.ndarray, shape: tuple[int, ...]) -> Measurement:
    """A plan and what `found`, bytes of bfloat16 or of float32, holds after it: means over the last axis, where roundings cancel."""
    job = Job([[Part(plan)]])

    def once() -> Layer:
        job.run()
        return at  # and so the operands stay where they are

    def answer() -> np.ndarray:
        once()
        numbers = (
            rounded(found.view(np.float32))
            if found.size == 4 * np.prod(shape)
            else widened(found.view(np.uint16))
        )
        return numbers.reshape(shape).mean(axis=-1)

    return Measurement(once, 1, answer)


def widened(bits: np.ndarray) -> np.ndarray:
    """bfloat16 as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def rounded(x: np.ndarray) -> np.ndarray:
    """float32 as the nearest bfloat16, as which PyTorch has it."""
    bits = x.view(np.uint32)
    return widened(((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16))


def forward(at: Layer) -> Measurement:
    """x, with zeros around it, and y of bfloat16; weights packed before."""
    x = at.rounded(at.x, at.conv.halo)
    packed = buffer(emit.packed_weights(at.conv))
    before = Plan()
    emit.add_pack_weights(before, at.conv, pointer_to(at.w), pointer_to(packed))
    Job([[Part(before)]]).run()
    y, found = at.space(at.grad_y)
    plan = Plan()
    emit.add_forward(plan, at.conv, x, pointer_to(packed), None, y, item=2)
    at.kept.append(packed)
    return measured(at, plan, found, (y.n, y.h, y.w, y.c))


def grad_input(at: Layer) -> Measurement:
    """grad_y and grad_x of bfloat16; float32 weights are packed in each call."""
    grad_y = at.rounded(at.grad_y, emit.grad_halo(at.conv))
    packed = buffer(emit.flipped_weights(at.conv))
    grad_x, found = at.space(at.x)
    plan = Plan()
    emit.add_flip_weights(plan, at.conv, pointer_to(at.w), pointer_to(packed))
    emit.add_grad_input(plan, at.conv, grad_y, pointer_to(packed), grad_x, item=2)
    at.kept.append(packed)
    return measured(at, plan, found, (at.x.n, at.x.h, at.x.w, at.x.c))


def grad_weights(at: Layer) -> Measurement:
    """x and grad_y of bfloat16, grad_w of float32."""
    x, grad_y = at.rounded(at.x), at.rounded(at.grad_y)
    found = buffer(4 * at.w.size)
    plan = Plan()
    by_pixels.add_from_images(plan, at.conv, x, grad_y, pointer_to(found), item=2)
    return measured(at, plan, found, at.w.shape)


def bfloat16_conv(request: Request) -> Measurement:
    """One pass of one convolution of bfloat16."""
    if host().bfloat16 is None:
        raise Absent("this processor multiplies no bfloat16")
    passes = {"forward": forward, "grad_input": grad_input, "grad_weights": grad_weights}
    return passes[request["pass"]](layer(request))
