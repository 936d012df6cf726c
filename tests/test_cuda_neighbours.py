"""Parts of the CUDA side that meet: programs and the settings of their time, numbers and the arguments of a launch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from on_device import assert_close, device  # noqa: F401

from cnnlite import layers, models
from cnnlite_kernels import precision
from cnnlite_kernels.cuda import gradients
from cnnlite_kernels.cuda.memory import Vector


@pytest.fixture(autouse=True)
def float32_afterwards() -> Iterator[None]:
    yield
    precision.set_matmul_precision("float32")


@pytest.mark.usefixtures("seeded", "device")
def test_a_backward_pass_rounds_as_is_set_when_it_is_called() -> None:
    """A way back that was made while bf16 was set is not taken when float32 is set again."""
    model = models.Sequential([layers.Input((64,)), layers.Dense(64, use_bias=False)], device="cuda")
    rng = np.random.default_rng(0)
    x, grad_y = rng.standard_normal((2, 64, 64)).astype(np.float32)
    expected = grad_y @ model.get_weights()[0].T
    model.forward(x)
    precision.set_matmul_precision("bfloat16")
    assert np.abs(model.backward(grad_y) - expected).max() > 1e-3
    precision.set_matmul_precision("float32")
    model.forward(x)
    assert_close([model.backward(grad_y)], [expected], 1e-5)


@pytest.mark.parametrize(("dtype", "limit"), [(np.float32, np.inf), (np.float64, 1e300)])
def test_a_number_beyond_float32_is_infinite_as_on_the_cpu(dtype: type, limit: float) -> None:
    packed = gradients.clip_values.pack((Vector(None, 256, 3, np.dtype(dtype)), 3, 1e300))
    assert np.frombuffer(packed, dtype, 1, len(packed) - 8)[0] == limit


def test_arrays_with_more_rows_than_a_kernel_counts_are_refused() -> None:
    vector = Vector(None, 256, 3, np.dtype(np.float32))
    with pytest.raises(
        ValueError, match=r"clip_values: expected numbers that its parameters hold .*work on fewer at a time"
    ):
        gradients.clip_values.pack((vector, 2**64, 1.0))
