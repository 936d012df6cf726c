"""Mixed precision: what a model may ask for."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlite_kernels.precision import BFLOAT16

OTHER_NAMES = ("bf16", "mixed_bfloat16", "mixed_float16", "float16")


def checked(mixed_precision: Any, dtype: np.dtype, who: str) -> str | None:
    """None or "bfloat16", as given.

    Args:
        dtype: of the model's weights; who: what a message calls the model.

    Raises:
        ValueError: another word. TypeError: a model of float64.

    >>> checked("bfloat16", np.dtype("float32"), "net")
    'bfloat16'
    """
    if mixed_precision is None:
        return None
    word = mixed_precision if isinstance(mixed_precision, str) else ""
    if word != BFLOAT16:
        hint = ""
        if word in OTHER_NAMES:
            hint = ' Keras\'s policy "mixed_bfloat16" is "bfloat16" here; there is none of float16.'
        elif word == "float32":
            hint = " None computes in float32."
        raise ValueError(
            f'{who}: expected mixed_precision None or "bfloat16", got {mixed_precision!r}.{hint}'
        )
    if dtype != np.float32:
        raise TypeError(
            f'{who}: expected dtype float32 for mixed_precision="bfloat16", got {dtype}; leave out one of the two.'
        )
    return BFLOAT16
