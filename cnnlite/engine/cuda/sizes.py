"""How many numbers go through a stage for a batch of n."""

from __future__ import annotations

import math

from cnnlite.engine.stages import Stage


def rows_of(stage: Stage, n: int) -> int:
    """Rows of a stage's output, of which each has all channels."""
    h, w, _ = stage.out_shape
    return n * h * w


def inputs(stage: Stage, n: int) -> int:
    """How many numbers go into a stage, those of its sources aside."""
    return n * math.prod(stage.in_shape)


def outputs(stage: Stage, n: int) -> int:
    """How many numbers come out of a stage."""
    return n * math.prod(stage.out_shape)
