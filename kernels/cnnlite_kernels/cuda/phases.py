"""Strides cut the gradient of a convolution's input into phases, each a convolution of its own without strides."""

from __future__ import annotations

import math
from typing import NamedTuple


class Phase(NamedTuple):
    """Input rows (or columns) `first`, first + stride, ... on which the same taps of the window fall.

    Attributes:
        first: the first of them. length: how many.
        taps: of the window; the gradient takes them from the last to the first, so that its outputs follow in order.
        last: the last tap, apart: from a tap to the one before.
        output: that the last tap of the first row belongs to; may be negative, which is outside.
        step: outputs from a tap to the one before.

    Input row h gets from tap i the output p with p * stride + i * dilation = h + before. So i * dilation is congruent to h + before
    modulo the stride, the same for every stride-th row; and such taps are stride / gcd(stride, dilation) apart.
    """

    first: int
    length: int
    taps: int
    last: int
    apart: int
    output: int
    step: int


def phases(size: int, kernel: int, stride: int, dilation: int, before: int) -> list[Phase]:
    """Of one axis of `size` input pixels, with `before` pixels of padding before the first; together they are all pixels, once.

    >>> [(p.first, p.length, p.taps, p.last, p.output) for p in phases(5, 3, 2, 1, 1)]
    [(0, 3, 1, 1, 0), (1, 2, 2, 2, 0)]
    """
    found, apart = [], stride // math.gcd(stride, dilation)
    for first in range(min(stride, size)):
        rest = (first + before) % stride
        taps = [i for i in range(kernel) if i * dilation % stride == rest]
        last = taps[-1] if taps else 0
        output = (first + before - last * dilation) // stride
        length = -(-(size - first) // stride)
        found.append(Phase(first, length, len(taps), last, apart, output, apart * dilation // stride))
    return found
