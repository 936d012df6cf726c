"""Arrays beyond 2^33 elements in the PTX interpreter, of which only a few pages exist."""

from __future__ import annotations

import numpy as np
import pytest
from ptx_snippets import run

from tools.ptx.errors import PtxError
from tools.ptx.memory import Sparse


class TestSparse:
    def test_only_pages_that_are_touched_exist(self) -> None:
        """Thread t reads element t * 2^28 of 2^35 and writes it, plus one, in another array."""
        x = Sparse(
            2**35, np.float32, lambda first, count: np.float32(first // 2**20) + np.zeros(count), name="x"
        )
        y = Sparse(2**35, np.float32, name="y")
        text = """cvt.u64.u32 %rd8, %r0; shl.b64 %rd8, %rd8, 30; add.s64 %rd9, %rd0, %rd8; ld.global.f32 %f1, [%rd9];
        add.f32 %f1, %f1, 0f3F800000; add.s64 %rd9, %rd1, %rd8; st.global.f32 [%rd9], %f1;"""
        run(text, 128, x, y)
        assert (x.pages, y.pages) == (128, 128)
        np.testing.assert_array_equal(y[np.arange(128) << 28], np.arange(128, dtype=np.float32) * 2**8 + 1)
        assert y[5] == 0

    def test_an_offset_of_32_bits_is_found_out(self) -> None:
        x = Sparse(2**33, np.float32, lambda first, count: np.full(count, first // count, np.float32))
        y = np.zeros(1, np.float32)
        right = "cvt.u64.u32 %rd8, %r1; shl.b64 %rd8, %rd8, 2;"
        wrong = "shl.b32 %r1, %r1, 2; cvt.u64.u32 %rd8, %r1;"
        text = "mov.u32 %r1, 0x60000000; {} add.s64 %rd9, %rd0, %rd8; ld.global.f32 %f1, [%rd9]; st.global.f32 [%rd1], %f1;"
        run(text.format(right), 1, x, y)
        assert y[0] == 0x60000000 // (65536 // 4)
        run(text.format(wrong), 1, x, y)
        assert y[0] != 0x60000000 // (65536 // 4)

    def test_bounds_and_races(self) -> None:
        x = Sparse(2**33, np.float32)
        far = "mov.u64 %rd8, 34359738368; add.s64 %rd9, %rd0, %rd8;"
        with pytest.raises(PtxError, match="load outside argument 0"):
            run(f"{far} ld.global.f32 %f1, [%rd9];", 1, x)
        run(f"{far} ld.global.f32 %f1, [%rd9+-4];", 1, x)
        with pytest.raises(PtxError, match="race in argument 0"):
            run(f"{far} st.global.f32 [%rd9+-4], %f1;", 2, x)
        with pytest.raises(PtxError, match="store to argument 0, which is read-only"):
            run("st.global.f32 [%rd0], %f1;", 1, Sparse(10, readonly=True))
