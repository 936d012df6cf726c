"""Each way PyTorch does one pass of a convolution with NHWC in memory (channels_last, oneDNN underneath)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from peers.operands import conv_inputs
from peers.protocol import Measurement, Request


@dataclass(frozen=True)
class Layer:
    """Tensors in PyTorch's order of axes and NHWC memory; `crop` undoes padding done beforehand."""

    x: torch.Tensor
    w: torch.Tensor
    grad_y: torch.Tensor
    strides: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int
    crop: tuple[slice, slice, slice, slice]


def layer(request: Request, padded_before: bool) -> Layer:
    """The layer's tensors, with x padded already or with PyTorch's own padding, which is even."""
    given = conv_inputs(request)
    (top, bottom), (left, right) = given.pads
    x, padding = given.x, [top, left]
    if padded_before:
        x, padding = np.pad(x, ((0, 0), *given.pads, (0, 0))), [0, 0]
    elif top != bottom or left != right:
        raise ValueError("PyTorch's own padding is even.")
    off_h, off_w = (top, left) if padded_before else (0, 0)
    h, w = given.x.shape[1:3]
    return Layer(
        torch.from_numpy(x).permute(0, 3, 1, 2),
        torch.from_numpy(given.w).permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last),
        torch.from_numpy(given.grad_y).permute(0, 3, 1, 2),
        list(given.strides),
        padding,
        list(given.dilation),
        given.groups,
        (slice(None), slice(off_h, off_h + h), slice(off_w, off_w + w), slice(None)),
    )


def forward(at: Layer) -> Measurement:
    """Plain conv2d."""

    def once() -> torch.Tensor:
        return F.conv2d(at.x, at.w, None, at.strides, at.padding, at.dilation, at.groups)

    return Measurement(once, 1, lambda: once().permute(0, 2, 3, 1).numpy())


def forward_packed(at: Layer) -> Measurement:
    """Weights in the blocked layout that oneDNN chooses for this layer."""
    packed = torch._C._nn.mkldnn_reorder_conv2d_weight(
        at.w.to_mkldnn(), at.padding, at.strides, at.dilation, at.groups, list(at.x.shape)
    )
    pointwise = torch.ops.mkldnn._convolution_pointwise

    def once() -> Any:
        return pointwise(at.x, packed, None, at.padding, at.strides, at.dilation, at.groups, "none", [], "")

    return Measurement(once, 1, lambda: once().permute(0, 2, 3, 1).numpy())


def backward(at: Layer, wants_input: bool) -> Measurement:
    """One of the two gradients, without the other."""
    convolution_backward = torch.ops.aten.convolution_backward
    mask = [wants_input, not wants_input, False]

    def once() -> Any:
        return convolution_backward(
            at.grad_y, at.x, at.w, None, at.strides, at.padding, at.dilation, False, [0, 0], at.groups, mask
        )

    def answer() -> Any:
        grad_x, grad_w, _ = once()
        if wants_input:
            return grad_x.permute(0, 2, 3, 1).numpy()[at.crop]
        return grad_w.permute(2, 3, 1, 0).numpy()

    return Measurement(once, 1, answer)


def variants(request: Request) -> dict[str, Callable[[], Measurement]]:
    """Every way for the pass that was asked for."""
    makers: dict[str, Callable[[Layer], Measurement]] = {
        "plain": partial(backward, wants_input=request["pass"] == "grad_input")
    }
    if request["pass"] == "forward":
        makers = {"plain": forward, "packed": forward_packed}
    found: dict[str, Callable[[], Measurement]] = {}
    for name, make in makers.items():
        found[name] = partial(_make, make, request, False)
        if np.any(request["pads"]):
            found[f"{name}, padded before"] = partial(_make, make, request, True)
    return found


def _make(make: Callable[[Layer], Measurement], request: Request, padded_before: bool) -> Measurement:
    return make(layer(request, padded_before))
