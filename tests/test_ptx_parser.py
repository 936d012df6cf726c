"""PTX text to a kernel."""

from __future__ import annotations

import pytest
from ptx_snippets import module

from tools.ptx.errors import PtxError
from tools.ptx.parser import Array, parse, split_operands, vector

MODULE = """
// a comment with a brace {
.version 9.5
.target sm_80
.address_size 64
.common .global .align 8 .u64 environment;
.extern .shared .align 4 .b8 dynamic[];
.visible .shared .align 16 .b8 tile[8192];
.global .align 4 .u32 table[2] = {0x10, -1};
.visible .entry first(
    .param .u64 first_param_0, /* two
    lines */
    .param .u64 .ptr .global .align 16 first_param_1,
    .param .f32 first_param_2
)
.maxntid 256, 1, 1
.minnctapersm 2
{
    .local .align 16 .b8 depot[32];
    .reg .pred %p<2>;
    .reg .b32 %r<3>, %other;
    .loc 1 2 3
    mov.u32 %r1, %tid.x;
$L__BB0_1:
    .pragma "nounroll";
    @!%p1 bra $L__BB0_1;
    {
        .reg .f32 t;
        st.shared.v2.f32 [tile+8], {t, t};
    }
    ret;
}
.visible .entry second() { ret; }
"""


def test_a_module() -> None:
    kernel = parse(MODULE, "first")
    assert kernel.parameters == {"first_param_0": "u64", "first_param_1": "u64", "first_param_2": "f32"}
    assert kernel.registers == {
        "%p0": "pred",
        "%p1": "pred",
        "%r0": "b32",
        "%r1": "b32",
        "%r2": "b32",
        "%other": "b32",
        "t": "f32",
    }
    assert kernel.arrays["tile"] == Array("tile", "shared", 16, 8192)
    assert kernel.arrays["dynamic"].size is None
    assert kernel.arrays["depot"] == Array("depot", "local", 16, 32)
    assert [array.name for array in kernel.constants] == ["table"]
    assert kernel.arrays["table"].content == bytes([16, 0, 0, 0, 255, 255, 255, 255])
    assert kernel.labels == {"$L__BB0_1": 1}
    assert [str(ins) for ins in kernel.instructions] == [
        "mov.u32 %r1, %tid.x",
        "@!%p1 bra $L__BB0_1",
        "st.shared.v2.f32 [tile+8], {t, t}",
        "ret",
    ]
    branch, store = kernel.instructions[1:3]
    assert (branch.predicate, branch.negated, branch.operands) == ("%p1", True, ("$L__BB0_1",))
    assert (store.name, store.modifiers, store.types) == ("st", ("shared", "v2"), ("f32",))


def test_entries_by_name() -> None:
    assert parse(MODULE, "second").instructions[0].name == "ret"
    with pytest.raises(PtxError, match=r"expected one entry in the module, found \['first', 'second'\]"):
        parse(MODULE)
    with pytest.raises(PtxError, match=r"expected third in the module"):
        parse(MODULE, "third")
    with pytest.raises(PtxError, match="found none"):
        parse("")


def test_names_of_numba_are_read() -> None:
    text = module("ret;")
    assert str(parse(text.replace(" k(", " _ZN9gemm_tile4gemmB2v7B92cw51cXTLE5ArrayIfE("))) == "gemm"
    assert str(parse(text.replace(" k(", " _ZN4file7factory12_3clocals_3e4bodyB2v1E("))) == "body"
    assert str(parse(text)) == "k"


def test_operands() -> None:
    assert split_operands("%r1|%p1, [%rd1+-8], {%f1, %f2}, 0f3F800000") == (
        "%r1|%p1",
        "[%rd1+-8]",
        "{%f1, %f2}",
        "0f3F800000",
    )
    assert vector("{%a, _}") == ("%a", "_")
    assert vector("%a") == ("%a",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (module("!?;"), r"`!\?` is not known here"),
        (module(".reg .f8 %x;"), r"registers of type \.f8 are not known"),
        (module(".reg .f32 %x; { .reg .b64 %x; }"), "register %x is declared twice"),
        (module("ret;", ".param .align 8 .b8 p[16]"), "is not of a scalar type"),
        (module("ret;")[:-1], "a brace is not closed"),
    ],
)
def test_what_is_not_known(text: str, message: str) -> None:
    with pytest.raises(PtxError, match=message):
        parse(text)
