"""Matrix product with BLAS's scale factors, and bias and activation behind it."""

from __future__ import annotations

import numpy as np

from .activations import activate


def matmul(
    a: np.ndarray,
    b: np.ndarray,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    alpha: float = 1,
    beta: float = 0,
    bias: np.ndarray | None = None,
    activation: str | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """C = activation(alpha * op(A) op(B) + beta * C + bias), where op transposes or does nothing.

    Args:
        a: (m, k), or (k, m) with transpose_a.
        b: (k, n), or (n, k) with transpose_b.
        alpha, beta: scale factors of the product and of the old C.
        bias: (n,), added to each row after beta * C, or none.
        activation: None, "relu", "sigmoid" or "tanh", applied last.
        out: the old C (m, n); only read here. As in BLAS it is not even read where beta is 0, so that NaN in
            it is harmless.

    Returns:
        C (m, n), float64, always a new array. beta * C + bias where k is 0.

    Raises:
        ValueError: shapes that do not fit, or beta without out.

    >>> matmul(np.array([[1, 2]]), np.array([[3, 4]]), transpose_b=True, alpha=2, bias=np.array([-30]))
    array([[-8.]])
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    c = alpha * ((a.T if transpose_a else a) @ (b.T if transpose_b else b))
    if beta != 0:
        if out is None:
            raise ValueError(
                f"matmul: expected out to hold the matrix that beta={beta} scales, got None; pass out."
            )
        c = c + beta * np.asarray(out, dtype=np.float64)
    if bias is not None:
        c = c + np.asarray(bias, dtype=np.float64)
    return activate(c, activation)
