"""PyTorch's ops, as the rows of single ops ask for them: with NHWC in memory (channels_last) and with NCHW, whichever is quicker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from peers.operands import EPSILON, KEPT, SLOPE, OpInputs, op_inputs
from peers.protocol import Measurement, Request, fastest

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
Tensors = list[torch.Tensor]


def _batch_norm(at: OpInputs) -> tuple[Callable[..., torch.Tensor], Tensors]:
    moving = torch.zeros(at.gamma.size), torch.ones(at.gamma.size)
    return (
        lambda x, gamma, beta: F.batch_norm(x, *moving, gamma, beta, True, 1 - KEPT, EPSILON),
        [torch.from_numpy(at.gamma), torch.from_numpy(at.beta)],
    )


def _function(at: OpInputs, op: str) -> tuple[Callable[..., torch.Tensor], Tensors]:
    """(The op as a function of x and of what else has a gradient, the latter)."""
    if op == "batch_norm":
        return _batch_norm(at)
    if op == "prelu":
        return F.prelu, [torch.from_numpy(at.beta)]
    if op == "transpose":
        w = torch.from_numpy(at.w).permute(3, 2, 0, 1)
        return (lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1)), [w]
    plain: dict[str, Callable[..., torch.Tensor]] = {
        "average_pool": lambda x: F.avg_pool2d(x, 2),
        "min_pool": lambda x: -F.max_pool2d(-x, 2),
        "nearest": lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
        "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        "leaky_relu": lambda x: F.leaky_relu(x, SLOPE),
    }
    return plain[op], []


def _made(request: Request, memory_format: torch.memory_format) -> Measurement:
    at = op_inputs(request)
    function, more = _function(at, request["op"])
    x, grad_y = (
        torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
        for array in (at.x, at.grad_y)
    )
    if request["op"] == "transpose":
        more = [more[0].contiguous(memory_format=memory_format)]

    def nhwc(found: torch.Tensor) -> np.ndarray:
        return found.detach().permute(0, 2, 3, 1).numpy()

    if request["pass"] == "forward":

        def once() -> Any:
            with torch.inference_mode():
                return function(x, *more)

        return Measurement(once, 1, lambda: nhwc(once()))
    inputs = [x.requires_grad_(), *(tensor.requires_grad_() for tensor in more)]
    y = function(*inputs)

    def gradients() -> Any:
        return torch.autograd.grad(y, inputs, grad_y, retain_graph=True)

    return Measurement(gradients, 1, lambda: nhwc(gradients()[0]))


def op(request: Request) -> Measurement:
    """One pass of one op, in the quicker of the two layouts."""
    return fastest({name: partial(_made, request, layout) for name, layout in FORMATS.items()}, 0.05)
