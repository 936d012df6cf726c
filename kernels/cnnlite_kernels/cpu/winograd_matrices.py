"""The matrices of Winograd's F(m x m, 3 x 3), from its points: y = A^T ((G g) * (B^T d)) along each axis.

d are m + 2 pixels, g the 3 taps and y the m sums d[k] g[0] + d[k + 1] g[1] + d[k + 2] g[2]. Toom and Cook's construction (Lavin and
Gray 2015, arXiv 1509.09308, use the same): evaluate at m + 1 points and at infinity, multiply there, interpolate.
"""

from __future__ import annotations

import functools
from fractions import Fraction

from cnnlite_kernels.algorithms import TAPS

# Points beside infinity, each followed by its negative: row (column) 2 i of a matrix is row 2 i - 1 with the signs of odd powers
# changed. F(2x2) is exact on integers. For F(4x4) these are at half the error of the usual 1 and 2, and exact in binary.
POINTS = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)),
}

Matrix = tuple[tuple[float, ...], ...]


@functools.cache
def matrices(m: int) -> tuple[Matrix, Matrix, Matrix]:
    """(B^T, G, A^T) of shapes (m + 2, m + 2), (m + 2, 3), (m, m + 2).

    >>> matrices(2)[2]
    ((1.0, 1.0, 1.0, 0.0), (0.0, 1.0, -1.0, 1.0))
    """
    points = POINTS[m]
    of_input, of_weights = [], []
    for j, point in enumerate(points):
        others = [other for i, other in enumerate(points) if i != j]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        of_weights.append([point**k / scale for k in range(TAPS)])
        of_input.append([*_polynomial(others), Fraction(0)])
    of_weights.append([Fraction(k == TAPS - 1) for k in range(TAPS)])
    of_input.append(_polynomial(points))
    of_output = [[*(point**k for point in points), Fraction(k == m - 1)] for k in range(m)]
    return _floats(of_input), _floats(of_weights), _floats(of_output)


def _polynomial(roots) -> list[Fraction]:
    """Coefficients, from the constant up, of the product of (x - root)."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, same = [Fraction(0), *coefficients], [*coefficients, Fraction(0)]
        coefficients = [up - root * down for up, down in zip(shifted, same, strict=True)]
    return coefficients


def _floats(rows) -> Matrix:
    return tuple(tuple(float(number) for number in row) for row in rows)
