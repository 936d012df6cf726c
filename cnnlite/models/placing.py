"""Where a model runs: the names of devices, and what they stand for."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels import dispatch


def device_for(device: str | None, who: str) -> Any:
    """The device that a name stands for: None for the CPU, else one of cnnlite_kernels.cuda.

    Args:
        device: None or "cpu" for the CPU, "cuda" or "cuda:N" for a GPU, "auto" for a GPU where there is one, else the CPU.
        who: what a message calls the model.

    Raises:
        ValueError: another name. RuntimeError: a GPU that is not there; the message says which piece is missing.
    """
    if device is None or device == "cpu" or (device == "auto" and not dispatch.usable()):
        return None
    return dispatch.gpu(who, "cuda" if device == "auto" else device)
