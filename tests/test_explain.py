"""What "auto" picks, and what it says about it."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

import cnnlite_kernels as kernels
from cnnlite_kernels import costs, dispatch, explain
from cnnlite_kernels.costs import Costs, Work
from cnnlite_kernels.cpu import disk
from cnnlite_kernels.explain import choose
from cnnlite_kernels.window import Window2D

EVEN = Costs(1e9, 1e9, 1e-6, 1e12, 1e12, 1e-6, 1e9, 1e9, 1e-6)
"""A GPU a thousand times as fast, with copies as fast as the CPU's memory."""


class Shaped:
    """As much of an array as the model looks at."""

    def __init__(self, *shape: int) -> None:
        self.shape, self.size, self.itemsize = shape, int(np.prod(shape)), 4


def test_the_model_is_the_larger_of_arithmetic_and_memory() -> None:
    seconds = costs.estimate(Work(3_000_000, 1000, 250), EVEN)
    assert seconds == pytest.approx((1e-6 + 3e-3, 1e-6 + 3e-6, 1e-6 + 4e-6, 1e-6 + 1e-6))
    assert seconds.gpu_pays
    seconds = costs.estimate(Work(0, 1_000_000, 1_000_000), EVEN)
    assert seconds.cpu == pytest.approx(1e-6 + 8e-3)
    assert not seconds.gpu_pays  # the copies take as long as the CPU's work
    assert costs.estimate(Work(1_000_000, 0, 0, 8), EVEN).cpu == pytest.approx(1e-6 + 2e-3)


X, W, Y = Shaped(2, 8, 8, 4), Shaped(3, 3, 4, 6), Shaped(2, 6, 6, 6)
C4 = Shaped(4)
POOLED, WINDOW = Shaped(2, 4, 4, 4), Window2D.of(2, 2)
FLOPS = 2 * Y.size * 3 * 3 * 4


@pytest.mark.parametrize(
    ("op", "args", "shapes", "options", "work"),
    [
        ("conv2d", (X, W, None, Y, None, 1, None), (X, W), {}, Work(FLOPS, X.size + W.size, Y.size)),
        ("conv2d_grad_input", (Y, W, X, None, 1), (Y, W, X), {}, Work(FLOPS, Y.size + W.size, X.size)),
        ("conv2d_grad_weights", (X, Y, W, None, 1), (X, Y, W), {}, Work(FLOPS, X.size + Y.size, W.size)),
        (
            "matmul",
            (Shaped(3, 4), Shaped(5, 4), Shaped(3, 5), 4),
            (Shaped(3, 4), Shaped(5, 4)),
            {"transpose_b": True},
            Work(120, 32, 15),
        ),
        ("max_pool2d", (X, POOLED, None, WINDOW), (X,), {"pool_size": 2}, Work(512, 512, 128)),
        (
            "max_pool2d_grad",
            (POOLED, X, None, X, WINDOW),
            (POOLED, X),
            {"pool_size": 2},
            Work(512, 640, 512),
        ),
        (
            "batch_normalization",
            (X, C4, C4, C4, C4, X, 1e-3),
            (X,),
            {},
            Work(4 * 512, 512 + 16, 512),
        ),
        (
            "batch_normalization_train",
            (X, C4, C4, X, C4, C4, C4, C4, 1e-3, 0.99),
            (X,),
            {},
            Work(8 * 512, 512 + 8, 512 + 16),
        ),
        (
            "batch_normalization_grad",
            (X, X, C4, C4, C4, X, C4, C4, 1e-3, True),
            (X,),
            {},
            Work(12 * 512, 1024 + 12, 512 + 8),
        ),
        (
            "up_sampling2d",
            (POOLED, X, (2, 2), "nearest"),
            (POOLED,),
            {"size": 2},
            Work(8 * 512, 128, 512),
        ),
        (
            "up_sampling2d_grad",
            (X, POOLED, (2, 2), "bilinear"),
            (X,),
            {"size": 2},
            Work(8 * 512, 512, 128),
        ),
        ("zero_padding2d", (X, Shaped(2, 10, 10, 4), ((1, 1), (1, 1))), (X,), {}, Work(800, 512, 800)),
        (
            "cropping2d",
            (X, POOLED, ((-2, -2), (-2, -2))),
            (X,),
            {"cropping": 2},
            Work(512, 512, 128),
        ),
        ("prelu", (X, C4, X, ()), (X, Shaped(1, 1, 4)), {}, Work(2 * 512, 516, 512)),
        ("prelu_grad", (X, X, C4, X, C4, ()), (X, Shaped(1, 1, 4)), {}, Work(5 * 512, 1028, 516)),
        ("average_pool2d", (X, POOLED, WINDOW), (X,), {"pool_size": 2}, Work(512, 512, 128)),
        (
            "average_pool2d_grad",
            (POOLED, X, WINDOW),
            (POOLED, X),
            {"pool_size": 2},
            Work(512, 128, 512),
        ),
        ("relu", ("relu", X, X, 0.0), (X,), {}, Work(4 * 512, 512, 512)),
        ("tanh_grad", ("tanh", X, X, X, 0.0), (X,), {}, Work(4 * 512, 1024, 512)),
        (
            "softmax_cross_entropy",
            (Shaped(7, 10), Shaped(7), Shaped(7), None),
            (Shaped(7, 10),),
            {},
            Work(1400, 77, 7),
        ),
    ],
)
def test_the_work_of_an_op(op: str, args: tuple, shapes: tuple, options: dict[str, Any], work: Work) -> None:
    dispatched = {"relu": "activation", "tanh_grad": "activation_grad"}.get(op, op)
    assert costs.work(dispatched, args) == work
    assert explain(op, *(array.shape for array in shapes), **options).work == work


def test_reasons() -> None:
    large, small = Work(10**12, 1000, 1000), Work(10, 10, 10)
    for work, missing, device, reason in (
        (large, None, "cuda", "the GPU with its copies would take .* and the CPU"),
        (small, None, "cpu", "the CPU would take .* and the GPU with its copies"),
        (large, "it is broken", "cpu", "no GPU can be used here"),
        (large._replace(item=8), None, "cpu", "the GPU's kernels of this op are of float32 only"),
    ):
        told = choose("matmul", work, EVEN, "invented", missing)
        assert told.device == device
        assert re.match(reason, told.reason)
        text = str(told)
        assert text.startswith(f'matmul: "auto" picks {device}, because ')
        assert "constants are invented" in text
        assert (missing or "there is one") in text


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("convolve", (1, 2)),
            "^explain: expected the name of an op, got 'convolve'; pass one of cnnlite_kernels",
        ),
        (
            ("conv2d_transpose", (1, 8, 8, 1), (3, 3, 4, 1)),
            "^explain: expected an op with kernels of its own, got 'conv2d_transpose'; pass 'conv2d_grad_input', by which",
        ),
        (
            ("conv2d", (1, 8, 8, 1)),
            "^explain: expected 2 shapes for conv2d, got 1; pass one for each operand",
        ),
        (("relu",), "^explain: expected 1 shape for relu, got 0"),
        (("matmul", (2, 3), (4, 5)), "^matmul: expected b with 3 rows"),
        (("conv2d", (1, 8, 8, 1), (3, 3, 2, 4)), "^conv2d: expected x with 2 channels"),
        (
            ("conv2d", (8, 8, 1), (3, 3, 1, 4)),
            r"^explain: expected x as ints \(n, h, w, cin\), got \(8, 8, 1\)",
        ),
        (("matmul", 2, (3, 4)), r"^explain: expected a as ints \(m, k\), got 2; pass the shape"),
        (("matmul", (2, -3), (3, 4)), r"^explain: expected a as ints \(m, k\), got \(2, -3\)"),
        (("max_pool2d", (8, 8, 1)), r"^explain: expected x as ints \(n, h, w, c\)"),
        (("softmax_cross_entropy", ()), r"^explain: expected logits as ints \(n, classes\), got \(\)"),
        (("relu", (2, 1.5)), r"^explain: expected x as ints of at least 0, got \(2, 1.5\)"),
    ],
)
def test_what_cannot_be_explained(args: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        explain(*args)


@pytest.mark.parametrize("dtype", ["int32", "float16", "nonsense", None])
def test_dtypes_that_ops_have_not_cannot_be_explained(dtype: Any) -> None:
    with pytest.raises(
        TypeError, match=r'^explain: expected dtype "float32" or "float64", got .*; pass the one'
    ):
        explain("matmul", (2, 3), (3, 4), dtype=dtype)


def test_dtypes_by_any_name() -> None:
    for dtype in ("float64", np.float64, np.dtype(np.float64), float):
        assert explain("relu", (2, 0, 3), dtype=dtype).work.item == 8


# what auto does


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A GPU is there; what runs is noted, not done."""
    ran: list[str] = []
    monkeypatch.setattr(dispatch, "usable", lambda: True)
    monkeypatch.setattr(dispatch, "gpu", lambda *_: "a GPU")
    monkeypatch.setattr(dispatch, "_on_cuda", lambda *_: lambda *_: ran.append("cuda"))
    monkeypatch.setattr(dispatch, "_load", lambda device, op: lambda *_: ran.append(device))
    monkeypatch.setattr(costs, "current", lambda: (EVEN, "invented"))
    return ran


def test_auto_takes_the_gpu_where_that_pays(two_devices: list[str]) -> None:
    small, large = (np.zeros((n, n), np.float32) for n in (4, 300))
    kernels.matmul(small, small, device="auto")
    kernels.matmul(large, large, device="auto")
    kernels.matmul(large.astype(float), large.astype(float), device="auto")  # float32 only on the GPU
    kernels.relu(large, device="auto")
    kernels.matmul(large, large)
    kernels.matmul(large, large, device="cpu")
    assert two_devices == ["cpu", "cuda", "cpu", "cpu", "cpu", "cpu"]


# measured constants


@pytest.fixture
def file(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CNNLITE_CACHE_DIR", str(tmp_path))
    disk.folder.cache_clear()
    costs.current.cache_clear()
    yield tmp_path / costs.FILE
    disk.folder.cache_clear()
    costs.current.cache_clear()


def test_constants_are_guesses_until_they_are_measured(file) -> None:
    assert costs.current() == (costs.defaults(), "guesses: python -m cnnlite tune measures them")
    assert costs.store(EVEN, "GPU 1") == file
    assert costs.current() == (EVEN, "measured on GPU 1")
    assert file.stat().st_mode & 0o077 == 0
    assert [found.name for found in file.parent.iterdir() if found.is_file()] == [costs.FILE]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"gpu": "A", "costs": {}}',
        json.dumps({"gpu": "A", "cpus": costs.allowed_cpus(), "costs": {**EVEN._asdict(), "copy": 0}}),
        json.dumps({"gpu": "A", "cpus": costs.allowed_cpus(), "costs": {**EVEN._asdict(), "copy": "x"}}),
        json.dumps({"gpu": "A", "cpus": costs.allowed_cpus(), "costs": {**EVEN._asdict(), "more": 1}}),
    ],
)
def test_a_damaged_file_is_not_used(file, content: str) -> None:
    file.write_text(content)
    file.chmod(0o600)
    constants, origin = costs.current()
    assert constants == costs.defaults()
    assert origin.startswith(f"guesses: {file} cannot be used (")
    assert origin.endswith("python -m cnnlite tune writes it anew")


def test_constants_of_another_machine_are_not_used(file) -> None:
    costs.store(EVEN, "GPU 1")
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "cpus": 10_000}))
    costs.current.cache_clear()
    assert costs.current() == (costs.defaults(), f"guesses: {file} was measured with 10000 CPUs")


def test_without_a_cache_folder_there_are_guesses(file, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNLITE_CACHE_DIR", "none")
    disk.folder.cache_clear()
    costs.current.cache_clear()
    assert costs.current()[0] == costs.defaults()
    with pytest.raises(OSError, match=r"^there is no cache folder to keep them in"):
        costs.store(EVEN, "GPU 1")
