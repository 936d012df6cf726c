"""Each way PyTorch does one pass of a convolution with tensors of bfloat16, NHWC in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from peers import torch_conv
from peers.protocol import Measurement, Request


def variants(request: Request) -> dict[str, Callable[[], Measurement]]:
    """Every way for the pass that was asked for: torch_conv's, x padded before where there is padding."""
    which = request["pass"]
    makers: dict[str, Callable[[torch_conv.Layer], Measurement]] = {
        "plain": partial(torch_conv.backward, wants_input=which == "grad_input")
    }
    if which == "forward":
        makers = {"plain": torch_conv.forward, "packed": torch_conv.forward_packed}
    return {
        f"{name}{', padded before' if padded else ''}": partial(_make, make, request, padded)
        for name, make in makers.items()
        for padded in {False, bool(np.any(request["pads"]))}
    }


def _make(
    make: Callable[[torch_conv.Layer], Measurement], request: Request, padded_before: bool
) -> Measurement:
    at = torch_conv.layer(request, padded_before)
    at = replace(at, **{name: vars(at)[name].to(torch.bfloat16) for name in ("x", "w", "grad_y")})
    once: Any = make(at).once

    def answer() -> Any:
        """Means over the last axis, where roundings cancel; as in bfloat16_conv.py."""
        found = once()
        if request["pass"] == "forward":
            return found.float().permute(0, 2, 3, 1).mean(-1).numpy()
        grad_x, grad_w, _ = found
        if request["pass"] == "grad_input":
            return grad_x.float().permute(0, 2, 3, 1).mean(-1).numpy()[at.crop[:3]]
        return grad_w.float().permute(2, 3, 1, 0).mean(-1).numpy()

    return Measurement(once, 1, answer)
