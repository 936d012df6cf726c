"""Matrix product with BLAS's scale factors, and bias and activation behind it."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels import checks, dispatch
from cnnlite_kernels.arrays import ArrayT, Operand
from cnnlite_kernels.packed import PackedWeights


def matmul(
    a: ArrayT,
    b: Operand | PackedWeights,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    alpha: float = 1,
    beta: float = 0,
    bias: Operand | None = None,
    activation: str | None = None,
    out: ArrayT | None = None,
    device: str | None = None,
) -> ArrayT:
    """C = activation(alpha * op(A) op(B) + beta * C + bias), where op transposes or does nothing.

    Args:
        a: (m, k), or (k, m) with transpose_a; float32 or float64, in any memory layout. Sides may be 0.
        b: (k, n), or (n, k) with transpose_b, of a's dtype; on the CPU also what `pack_matmul_weights` made of it, without
            transpose_b here, for many calls with the same one.
        alpha, beta: scale factors of the product and of the old C.
        bias: (n,), of a's dtype, added to each row after beta * C, or none.
        activation: None, "relu", "sigmoid" or "tanh", applied last.
        out: the old C (m, n), which is overwritten: C-contiguous and apart from the operands. A new array if None. As in BLAS
            it is not read where beta is 0, so that NaN in it is harmless.
        device: None (where the data lives), "auto" (where it costs least), "cpu", "cuda" or "cuda:N"; see dispatch.py.

    Returns:
        C (m, n), of a's dtype; `out` if it was given. beta * C + bias where k is 0.

    Raises:
        ValueError: shapes that do not fit, beta without out, an unfit `out`, an unknown option.
        TypeError: an operand of another dtype.
        RuntimeError: a device that is not there.

    >>> import numpy as np
    >>> a, b = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])
    >>> matmul(a, b, transpose_b=True, alpha=2, bias=np.array([-30.0]))
    array([[-8.]])
    """
    packed = isinstance(b, PackedWeights)
    run = dispatch.find("matmul", "cpu" if packed and device == "auto" else device, a, b, bias)
    a = checks.operand("matmul", "a", a, "(m, k)")
    b = (
        checks.packed("matmul", "b", b, device, a)
        if packed
        else checks.operand("matmul", "b", b, "(k, n)", like=a)
    )
    if packed and transpose_b:
        raise ValueError(
            f"matmul: expected packed b as (k, n), got transpose_b={transpose_b!r}; give it to pack_matmul_weights instead."
        )
    m, n, k = checks.product(a, b, transpose_a, transpose_b)
    alpha, beta = checks.scale("alpha", alpha), checks.scale("beta", beta)
    activation = checks.activation("matmul", activation)
    bias = checks.bias("matmul", "bias", bias, n, like=a)
    if beta != 0 and out is None:
        raise ValueError(
            f"matmul: expected out to hold the matrix that beta={beta:g} scales, got None; pass out."
        )
    inputs: tuple[Any, ...] = (a, b.data if packed else b)
    c = checks.output("matmul", out, (m, n), a.dtype, inputs if bias is None else (*inputs, bias))
    if c.size:
        run(a, b, c, k, bool(transpose_a), bool(transpose_b), alpha, beta, bias, activation)
    return c
