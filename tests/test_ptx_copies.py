"""cp.async in the PTX interpreter: what arrives, when, and who may touch it before."""

from __future__ import annotations

import numpy as np
import pytest
from ptx_snippets import run

from tools.ptx.errors import PtxError

SHARED = ".shared .align 16 .b8 s[256];"


def words(count: int = 64) -> np.ndarray:
    return np.arange(count, dtype=np.uint32)


class TestAsynchronousCopies:
    TEXT = """mov.u32 %r10, s; shl.b32 %r12, %r0, 4; add.u32 %r11, %r10, %r12; cvt.u64.u32 %rd8, %r12; add.s64 %rd20, %rd0, %rd8;
    add.s64 %rd21, %rd1, %rd8; xor.b32 %r13, %r12, 16; add.u32 %r13, %r13, %r10;"""
    COPY = "cp.async.cg.shared.global [%r11], [%rd20], 16;"
    OUT = "ld.shared.v4.u32 {%r1, %r2, %r3, %r4}, [%r13]; st.global.v4.u32 [%rd21], {%r1, %r2, %r3, %r4};"

    @pytest.mark.parametrize(
        "wait",
        [
            "cp.async.commit_group; cp.async.wait_group 0;",
            "cp.async.wait_all;",
            "cp.async.commit_group; cp.async.wait_all;",
        ],
    )
    def test_it_arrives_when_it_is_waited_for(self, wait: str) -> None:
        x, y = words(16), np.zeros(16, np.uint32)
        run(f"{self.TEXT} {self.COPY} {wait} bar.sync 0; {self.OUT}", 4, x, y, arrays=SHARED)
        assert y.tolist() == [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11]

    @pytest.mark.parametrize("wait", ["", "cp.async.commit_group;", "cp.async.commit_group; cp.async.wait_group 1;",
                                      "cp.async.wait_group 0;"])  # fmt: skip
    def test_not_waited_for(self, wait: str) -> None:
        with pytest.raises(PtxError, match=r"load of shared memory that a cp\.async has not been waited for"):
            run(
                f"{self.TEXT} {self.COPY} {wait} bar.sync 0; {self.OUT}",
                4,
                words(16),
                words(16),
                arrays=SHARED,
            )

    def test_waiting_orders_only_the_thread_that_waits(self) -> None:
        wait = "cp.async.commit_group; cp.async.wait_group 0;"
        with pytest.raises(PtxError, match="race in shared memory"):
            run(f"{self.TEXT} {self.COPY} {wait} {self.OUT}", 4, words(16), words(16), arrays=SHARED)

    def test_over_what_others_still_read(self) -> None:
        text = f"{self.TEXT} st.shared.v4.u32 [%r11], {{%r0, %r0, %r0, %r0}}; bar.sync 0; {self.OUT} WAIT {self.COPY}"
        run(text.replace("WAIT", "bar.sync 0;"), 4, words(16), words(16), arrays=SHARED)
        with pytest.raises(PtxError, match="race in shared memory: this store"):
            run(text.replace("WAIT", ""), 4, words(16), words(16), arrays=SHARED)

    def test_groups_arrive_in_order(self) -> None:
        second = "cp.async.ca.shared.global [%r11+64], [%rd20+64], 16; cp.async.commit_group;"
        text = f"{self.TEXT} {self.COPY} cp.async.commit_group; {second} cp.async.wait_group 1; bar.sync 0; {self.OUT}"
        y = np.zeros(16, np.uint32)
        run(text, 4, words(32), y, arrays=SHARED)
        assert y[:4].tolist() == [4, 5, 6, 7]
        late = text.replace("[%r13]", "[%r13+64]")
        with pytest.raises(PtxError, match="has not been waited for"):
            run(late, 4, words(32), y, arrays=SHARED)
        run(late.replace("wait_group 1", "wait_group 0"), 4, words(32), y, arrays=SHARED)
        assert y[:4].tolist() == [20, 21, 22, 23]

    @pytest.mark.parametrize("size", [4, 8, 16])
    def test_what_lies_beyond_the_source_size_is_zero_and_is_not_read(self, size: int) -> None:
        """Thread t copies t words; the argument ends where the last one's bytes do."""
        x, y = words(size // 4) + 1, np.full(16, 9, np.uint32)
        text = f"""{self.TEXT} st.shared.v4.u32 [%r11], {{9, 9, 9, 9}}; shl.b32 %r5, %r0, 2; min.u32 %r5, %r5, {size};
        setp.eq.u32 %p1, %r0, 0; selp.b64 %rd22, 0, %rd0, %p1;
        cp.async.ca.shared.global.L2::128B [%r11], [%rd22], {size}, %r5; cp.async.wait_all;
        ld.shared.v4.u32 {{%r1, %r2, %r3, %r4}}, [%r11]; st.global.v4.u32 [%rd21], {{%r1, %r2, %r3, %r4}};"""
        run(text, 4, x, y, arrays=SHARED)
        for t, row in enumerate(y.reshape(4, 4)):
            copied = [i + 1 if i < t else 0 for i in range(size // 4)]
            assert row.tolist() == copied + [9] * (4 - size // 4)

    def test_bounds_alignment_and_size(self) -> None:
        with pytest.raises(PtxError, match="load outside argument 0"):
            run(f"{self.TEXT} {self.COPY}", 4, words(15), words(16), arrays=SHARED)
        with pytest.raises(PtxError, match="misaligned load of 16 bytes in argument 0"):
            run(
                f"{self.TEXT} cp.async.cg.shared.global [%r11], [%rd20+4], 16;",
                1,
                words(16),
                words(16),
                arrays=SHARED,
            )
        with pytest.raises(PtxError, match="misaligned store of 8 bytes in shared memory"):
            run(
                f"{self.TEXT} cp.async.ca.shared.global [%r11+4], [%rd20], 8;",
                1,
                words(16),
                words(16),
                arrays=SHARED,
            )
        with pytest.raises(PtxError, match=r"cp\.async of 8 bytes"):
            run(
                f"{self.TEXT} cp.async.cg.shared.global [%r11], [%rd20], 8;",
                1,
                words(16),
                words(16),
                arrays=SHARED,
            )
