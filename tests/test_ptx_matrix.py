"""Tensor cores of the PTX interpreter: ldmatrix by the manual's figures, mma against a product of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from ptx_snippets import run

from tools.ptx.convert import to_bf16
from tools.ptx.errors import PtxError

SHARED = ".shared .align 16 .b8 s[4096];"
FILL = """mov.u32 %r10, s; shl.b32 %r11, %r0, 4; add.u32 %r12, %r10, %r11; cvt.u64.u32 %rd8, %r11; add.s64 %rd9, %rd0, %rd8;
ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd9]; st.shared.v4.u32 [%r12], {%r1, %r2, %r3, %r4}; bar.sync 0;
add.s64 %rd9, %rd1, %rd8;"""


def loaded(matrices: np.ndarray, number: int, trans: str = "") -> np.ndarray:
    """What ldmatrix gives each lane of matrices (4, 8, 8) that lie one row after the other: (32, number, 2)."""
    y = np.zeros((32, 4, 2), np.uint16)
    targets = ", ".join(f"%r{20 + i}" for i in range(number))
    load = f"ldmatrix.sync.aligned.m8n8.x{number}{trans}.shared.b16 {{{targets}}}, [%r12];"
    run(f"{FILL} {load} st.global.v4.u32 [%rd9], {{%r20, %r21, %r22, %r23}};", 32, matrices, y, arrays=SHARED)
    return y[:, :number]


@pytest.mark.parametrize("number", [1, 2, 4])
def test_lanes_get_their_part_of_each_matrix(number: int) -> None:
    matrices = np.arange(256, dtype=np.uint16).reshape(4, 8, 8)
    for trans, source in (("", matrices), (".trans", matrices.transpose(0, 2, 1))):
        y = loaded(matrices, number, trans)
        for lane in range(32):
            for i in range(number):
                assert y[lane, i].tolist() == source[i, lane // 4, 2 * (lane % 4) :][:2].tolist()


def fragments(a: np.ndarray, b: np.ndarray, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Elements of A (16, k) and B (k, 8) in the order of registers, (32, registers * each), by the manual's own formulas:

    a_i is at row group + 8 where i // each is odd, column each * in_group + i % each, + 4 * each for the second half;
    b_i at row each * in_group + i % each + 4 * each * (i // each), column group.
    """
    k = a.shape[1]
    of_a, of_b = np.zeros((32, k // 2), a.dtype), np.zeros((32, k // 4), b.dtype)
    for lane in range(32):
        group, within = lane // 4, lane % 4
        for i in range(k // 2):
            row = group + (8 if (i // each) % 2 else 0)
            of_a[lane, i] = a[row, each * within + i % each + 4 * each * (i // (2 * each))]
        for i in range(k // 4):
            of_b[lane, i] = b[each * within + i % each + 4 * each * (i // each), group]
    return of_a, of_b


def bits_of(values: np.ndarray, kind: str) -> np.ndarray:
    """As words of registers, (32, registers)."""
    if kind == "bf16":
        return np.ascontiguousarray(to_bf16(values)).view(np.uint32)
    return np.ascontiguousarray(values.astype(np.float16 if kind == "f16" else np.float32)).view(np.uint32)


def multiplied(
    kind: str, k: int, a: np.ndarray, b: np.ndarray, c: np.ndarray, threads: int = 32, text: str = "{}"
) -> np.ndarray:
    each = 1 if kind == "tf32" else 2
    of_a, of_b = (bits_of(part, kind) for part in fragments(a, b, each))
    of_c = np.zeros((32, 4), np.float32)
    for lane in range(32):
        for i in range(4):
            of_c[lane, i] = c[lane // 4 + 8 * (i // 2), 2 * (lane % 4) + i % 2]
    y = np.full((32, 4), np.nan, np.float32)
    lines = ["and.b32 %r0, %r0, 31;"]
    for argument, (part, first) in enumerate(((of_a, 10), (of_b, 20))):
        for i in range(part.shape[1]):
            lines.append(
                f"mad.wide.u32 %rd9, %r0, {4 * part.shape[1]}, %rd{argument}; ld.global.u32 %r{first + i}, [%rd9+{4 * i}];"
            )
    lines.append("mad.wide.u32 %rd9, %r0, 16, %rd2; ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd9];")
    left = ", ".join(f"%r{10 + i}" for i in range(of_a.shape[1]))
    right = ", ".join(f"%r{20 + i}" for i in range(of_b.shape[1]))
    mma = f"mma.sync.aligned.m16n8k{k}.row.col.f32.{kind}.{kind}.f32"
    mma += f" {{%f5, %f6, %f7, %f8}}, {{{left}}}, {{{right}}}, {{%f1, %f2, %f3, %f4}};"
    lines += [
        text.replace("{}", mma),
        "mad.wide.u32 %rd9, %r0, 16, %rd3; st.global.v4.f32 [%rd9], {%f5, %f6, %f7, %f8};",
    ]
    run("\n".join(lines), threads, of_a, of_b, of_c, y)
    d = np.zeros((16, 8), np.float32)
    for lane in range(32):
        for i in range(4):
            d[lane // 4 + 8 * (i // 2), 2 * (lane % 4) + i % 2] = y[lane, i]
    return d


SHAPES = [("bf16", 16), ("f16", 16), ("tf32", 8), ("bf16", 8), ("f16", 8)]


@pytest.mark.parametrize(("kind", "k"), SHAPES)
def test_products_of_integers_are_exact(kind: str, k: int) -> None:
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((16, k), (k, 8), (16, 8)))
    np.testing.assert_array_equal(multiplied(kind, k, a, b, c), a @ b + c)


@pytest.mark.parametrize(("kind", "k"), SHAPES)
def test_transposed_operands_are_found_out(kind: str, k: int) -> None:
    rng = np.random.default_rng(1)
    a, b, c = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((16, k), (k, 8), (16, 8)))
    if k == 8:
        assert (multiplied(kind, k, a, b.T.copy(), c) != a @ b + c).any()
    swapped = a.reshape(2, 8, k)[::-1].reshape(16, k)
    assert (multiplied(kind, k, swapped, b, c) != a @ b + c).any()


def test_tf32_looks_at_ten_bits_of_mantissa() -> None:
    a, b, c = np.zeros((16, 8), np.float32), np.zeros((8, 8), np.float32), np.zeros((16, 8), np.float32)
    a[0, 0], b[0, 0] = 1 + 2.0**-11, 1
    assert multiplied("tf32", 8, a, b, c)[0, 0] == 1
    a[0, 0] = 1 + 2.0**-10
    assert multiplied("tf32", 8, a, b, c)[0, 0] == 1 + 2.0**-10


def test_a_part_of_a_warp() -> None:
    zeros = [np.zeros(shape, np.float32) for shape in ((16, 16), (16, 8), (16, 8))]
    with pytest.raises(PtxError, match="only a part of a warp takes part"):
        multiplied("bf16", 16, *zeros, text="setp.ge.u32 %p1, %r0, 16; @%p1 bra $over; {} $over:")
    with pytest.raises(PtxError, match="only a part of a warp takes part"):
        multiplied("bf16", 16, *zeros, threads=16)


MATRIX = "mov.u32 %r10, s; shl.b32 %r11, %r0, 4; add.u32 %r12, %r10, %r11;"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r12];", "load of uninitialised shared memory"),
        ("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r12+8];", "misaligned load of 16 bytes"),
        ("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%r12+4000];", "load outside shared memory"),
        ("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r1}, [%r12];", "expected 2 registers"),
        ("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%f5, %f6, %f7, %f8}, {%r1, %r2}, {%r3}, {%f1, %f2, %f3, %f4};",
         r"modifier \.m16n8k4 of mma"),
        ("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f5, %f6, %f7, %f8}, {%r1, %r2}, {%r3}, {%f1, %f2, %f3, %f4};",
         r"2 \+ 1 registers do not hold the matrices of m16n8k16"),
        ("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%r5, %r6}, {%r1, %r2, %r3, %r4}, {%r7, %r8}, {%r5, %r6};",
         r"expected f32 \+= f16 \* f16"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    with pytest.raises(PtxError, match=message):
        run(f"{MATRIX} {text}", 32, arrays=SHARED)


def test_ldmatrix_races() -> None:
    store = "st.shared.v4.u32 [%r12], {%r0, %r0, %r0, %r0};"
    load = "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r13];"
    other = "xor.b32 %r13, %r11, 64; add.u32 %r13, %r13, %r10;"
    run(f"{MATRIX} {other} {store} bar.sync 0; {load}", 32, arrays=SHARED)
    with pytest.raises(PtxError, match="race in shared memory: this load"):
        run(f"{MATRIX} {other} {store} {load}", 32, arrays=SHARED)
