"""Outputs of a product that lie in lines, the same step apart: what line_tile.py and slide_tile.py go along."""

from __future__ import annotations

from typing import NamedTuple


class Lines(NamedTuple):
    """Lines of outputs: how many in a line, lines and images, and the steps from one to the next in A and C, in numbers."""

    pixels: int
    a_pixel: int
    c_pixel: int
    lines: int
    a_line: int
    c_line: int
    images: int = 1
    a_image: int = 0
    c_image: int = 0
