"""AMX without AMX: the same sweep with its tile instructions emulated, and the assembly that the real one becomes."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest
from bfloat16_host import asked, everywhere, needs_bfloat16  # noqa: F401
from cases import ConvCase, MatmulCase
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import conv_cases
from test_bfloat16_kernels import run
from test_bfloat16_ops import assert_product_equals_reference
from test_conv2d import assert_equal_to_reference

from cnnlite_kernels.cpu import bfloat16_conv2d as emit
from cnnlite_kernels.cpu import bfloat16_product, host
from cnnlite_kernels.cpu.conv2d import Conv
from cnnlite_kernels.cpu.memory import pointer_to
from cnnlite_kernels.cpu.ops import bfloat16_conv2d, bfloat16_matmul
from cnnlite_kernels.cpu.plan import Plan
from cnnlite_kernels.window import Window2D

CASES = [
    ConvCase("direct", 2, 9, 8, 64, 48, (1, 1)),
    ConvCase("gathered", 2, 9, 8, 32, 80, (3, 3), padding="same"),
    ConvCase("odd", 3, 7, 9, 5, 33, (3, 2), (2, 1), "same"),
    ConvCase("deep", 1, 7, 7, 256, 70, (3, 3), padding="same"),
    ConvCase("long_sums", 16, 31, 33, 8, 40, (2, 3)),
]


@pytest.fixture
def emulated(everywhere: None, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    """Products are AMX's, emulated where this processor has none. What is kept of others is laid out otherwise."""
    kept = [
        bfloat16_matmul.work,
        *(getattr(bfloat16_conv2d, name) for name in ("forward", "grad_input", "grad_weights")),
    ]
    for cache in kept:
        cache.cache_clear()
    monkeypatch.setattr(bfloat16_product, "with_amx", lambda: True)
    yield
    for cache in kept:
        cache.cache_clear()


@needs_bfloat16
@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolutions_of_integers_equal_reference(case: ConvCase) -> None:
    assert_equal_to_reference(case, np.float32)


@needs_bfloat16
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(conv_cases(max_channels=40, max_groups=1), st.integers(0, 2**32 - 1))
def test_any_geometry_equals_reference(emulated: None, case: ConvCase, seed: int) -> None:
    assert_equal_to_reference(case, np.float32, seed)


@needs_bfloat16
@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(("m", "n", "k"), [(70, 61, 2051), (64, 64, 96), (33, 17, 31)])
def test_products_of_integers_equal_reference(m: int, n: int, k: int, transpose: bool) -> None:
    assert_product_equals_reference(MatmulCase("product", m, n, k, transpose, transpose))


@needs_bfloat16
@pytest.mark.usefixtures("emulated")
@pytest.mark.parametrize("strides", [1, (2, 2), (3, 1)])
def test_flipped_weights_fill_exactly_their_room(strides: int | tuple[int, int]) -> None:
    """Each phase of the strides is filled up to whole steps."""
    conv = Conv(Window2D.of((5, 2), strides, padding="same"), 8, 8, 3, 54)
    size = emit.flipped_weights(conv)
    untouched = 0xAB  # in no byte of 0 and 1
    w, packed = np.ones((5, 2, 3, 54), np.float32), np.full(2 * size, untouched, np.uint8)
    plan = Plan()
    emit.add_flip_weights(plan, conv, pointer_to(w), pointer_to(packed))
    run(plan)
    assert not np.any(packed[:size] == untouched)
    assert np.all(packed[size:] == untouched)


# The assembly, for a processor that has AMX: compiled here, not run.


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a sweep two vectors wide, by a process that compiles for Sapphire Rapids."""
    code = (
        "from cnnlite_kernels.cpu.amx_sweep import amx_sweep; "
        "print(amx_sweep.compiled(32, 2, 4, 0, 1, 0)._library.get_asm_str())"
    )
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "NUMBA_CPU_NAME": "sapphirerapids",
        "NUMBA_CPU_FEATURES": "+amx-tile,+amx-bf16",
        "CNNLITE_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def blocks_with(assembly: str, instruction: str) -> list[str]:
    """The blocks of instructions between labels that hold an instruction."""
    return [block for block in re.split(r"^\.?\w+:.*$", assembly, flags=re.MULTILINE) if instruction in block]


@pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="the processor named is x86-64"
)
def test_four_products_to_four_loads_and_nothing_is_spilled(assembly: str) -> None:
    found = blocks_with(assembly, "tdpbf16ps")
    assert found
    for block in found:
        assert (
            block.count("tdpbf16ps") == block.count("tileloadd") in (4, 16)
        )  # LLVM takes four steps in a turn
        assert "tilestored" not in block
        assert not re.search(r"mm\d+, .*\(%rsp\)", block)
    assert assembly.count("tilestored") in (4, 8)  # the two loops may end in the same stores
    assert assembly.count("tilezero") == 8
    assert assembly.count("ldtilecfg") == 1


def test_a_processor_without_amx_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(host.ctypes, "CDLL", lambda *_, **__: calls.append(1))
    assert not host._amx("+avx512bf16,+avx512f")
    assert not calls


@pytest.mark.parametrize(("answer", "granted"), [(0, True), (-1, False)])
def test_linux_is_asked_for_room_to_save_tiles(
    answer: int, granted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, ...]] = []

    class Library:
        def __init__(self, *_: object, **__: object) -> None: ...

        def syscall(self, *numbers: int) -> int:
            calls.append(numbers)
            return answer

    monkeypatch.setattr(host.ctypes, "CDLL", Library)
    assert host._amx("+avx512bf16,+amx-bf16,+amx-tile") is granted
    assert calls == [(158, 0x1023, 18)]
