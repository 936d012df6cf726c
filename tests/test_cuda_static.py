"""tools/cuda_static reads what ptxas and nvdisasm say, and finds each fault that it is there to find."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("numba_cuda", reason="the CUDA kernels need numba-cuda")

from numba import cuda, float32, uint32

from cnnlite_kernels.cuda.catalogue import Budget
from cnnlite_kernels.cuda.intrinsics import four_of, load4, outer_products, store4, zeros
from cnnlite_kernels.cuda.kernel import U32, Floats, Kernel, kernel
from tools.cuda_static import measure, sass, toolchain
from tools.cuda_static.occupancy import CAPABILITIES, Occupancy, occupancy

u = uint32
SIXTY_FOUR, WIDTH = 64, 128
SLICE, LARGE = 8 * WIDTH, 12289
ROOMY = Budget(registers=255, shared=49152)


# --- kernels, good and bad ---


def tile(blocks: int) -> Kernel:
    """A block's 128 x 128 product of slices that are 128-bit loads from global and shared memory."""

    @kernel(threads=256, blocks=blocks)
    def body(a: Floats, b: Floats, c: Floats, k: U32) -> None:
        a_slice = cuda.shared.array(SLICE, float32, alignment=16)
        b_slice = cuda.shared.array(SLICE, float32, alignment=16)
        t = u(cuda.threadIdx.x)
        row, column = t // u(16) * u(4), t % u(16) * u(4)
        sums = zeros(64)
        start = u(0)
        while start < k:
            store4(a_slice, t * u(4), load4(a, start * u(WIDTH) + t * u(4)))
            store4(b_slice, t * u(4), load4(b, start * u(WIDTH) + t * u(4)))
            cuda.syncthreads()
            sums = outer_products(
                sums, a_slice, row, b_slice, column, 8, 8, 8, WIDTH, WIDTH, SIXTY_FOUR, SIXTY_FOUR
            )
            cuda.syncthreads()
            start += u(8)
        out = t * u(64)
        for group in range(u(16)):
            store4(c, out + group * u(4), four_of(sums, group))

    return body


@kernel(threads=128)
def dot(x: Floats, w: Floats, y: Floats, k: U32) -> None:
    """One multiply-add for two scalar loads."""
    t = u(cuda.blockIdx.x) * u(128) + u(cuda.threadIdx.x)
    total = float32(0)
    for i in range(k):
        total += x[u(i) * u(128) + t] * w[u(i)]
    y[t] = total


@kernel(threads=128)
def local_array(x: Floats, y: Floats, k: U32) -> None:
    """An array of a thread whose indices only the data tell."""
    kept = cuda.local.array(SIXTY_FOUR, float32)
    t = u(cuda.threadIdx.x)
    for i in range(k):
        kept[(u(i) * k) % u(SIXTY_FOUR)] = x[u(i) * u(128) + t]
    y[t] = kept[k % u(SIXTY_FOUR)]


@kernel(threads=32)
def large_shared(x: Floats) -> None:
    """Four bytes more shared memory than a block may have."""
    kept = cuda.shared.array(LARGE, float32)
    t = u(cuda.threadIdx.x)
    kept[t * u(300)] = x[t]
    cuda.syncthreads()
    x[t] = kept[(u(31) - t) * u(300)]


@pytest.fixture(scope="module", params=[(7, 5), (8, 0), (9, 0), (12, 0)], ids=toolchain.architecture)
def capability(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


def faults_of(one: Kernel, budget: Budget, capability: tuple[int, int]) -> list[str]:
    return list(measure.faults(budget, measure.measure(one, budget, capability)))


def test_a_good_tile_has_no_faults(capability: tuple[int, int]) -> None:
    budget = Budget(registers=128, shared=8192, blocks=2, loop="FFMA", share=0.85, wide=True)
    assert faults_of(tile(2), budget, capability) == []


def test_a_spilled_accumulator_is_found(capability: tuple[int, int]) -> None:
    found = faults_of(tile(4), ROOMY, capability)
    assert any("no spilled registers" in fault for fault in found)


def test_a_stack_is_found(capability: tuple[int, int]) -> None:
    (found,) = faults_of(local_array, ROOMY, capability)
    assert found.startswith("expected no stack, got 256 bytes")


def test_scalar_loads_in_the_hot_loop_are_found(capability: tuple[int, int]) -> None:
    (found,) = faults_of(dot, ROOMY._replace(loop="FFMA", wide=True), capability)
    assert found.startswith("expected only 128-bit loads in the hot loop, got {'LDG.E")


def test_a_low_share_of_arithmetic_is_found(capability: tuple[int, int]) -> None:
    (found,) = faults_of(dot, ROOMY._replace(loop="FFMA", share=0.85), capability)
    assert found.startswith("expected FFMA to be at least 85% of the hot loop, got ")


def test_a_missing_hot_loop_is_found(capability: tuple[int, int]) -> None:
    assert faults_of(dot, ROOMY._replace(loop="HMMA"), capability) == [
        "expected a hot loop of HMMA, got none"
    ]


def test_too_many_registers_and_too_much_shared_memory_are_found(capability: tuple[int, int]) -> None:
    registers, shared = faults_of(tile(2), Budget(registers=100, shared=8000), capability)
    assert registers.startswith("expected at most 100 registers, got 1")
    assert shared == "expected at most 8000 bytes of shared memory, got 8192"


def test_more_shared_memory_than_a_block_may_have_is_found(capability: tuple[int, int]) -> None:
    with pytest.raises(
        ValueError, match=r"expected at most 49152 bytes of shared memory for sm_\d+, got 49156; use"
    ):
        measure.measure(large_shared, ROOMY, capability)


def figures(**changes: Any) -> measure.Figures:
    loop = measure.HotLoop(100, 0.5, 1.0, {"HMMA": 50, "LDSM.16.M88.4": 8, "LDGSTS.E.BYPASS.128": 4})
    return measure.Figures(64, 1024, 0, 0, Occupancy(8, 0.5, "registers"), loop, 0.5)._replace(**changes)


TENSOR = Budget(registers=64, shared=1024, loop="HMMA", share=0.4, wide=True, copies=True)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"HMMA": 50, "LDSM.16.M88.4": 8, "LDGSTS.E.BYPASS.128": 4, "FFMA": 3}, "expected no FFMA .* got 3"),
        ({"HMMA": 50, "LDS": 8, "LDGSTS.E.BYPASS.128": 4}, r"expected ldmatrix \(LDSM\)"),
        ({"HMMA": 50, "LDSM.16.M88.4": 8, "LDG.E.128": 4}, r"expected asynchronous copies \(LDGSTS\)"),
    ],
)
def test_faults_of_a_tensor_core_loop(counts: dict[str, int], said: str) -> None:
    assert list(measure.faults(TENSOR, figures())) == []
    loop = measure.HotLoop(100, 0.5, 1.0, counts)
    (found,) = measure.faults(TENSOR, figures(loop=loop))
    assert re.search(said, found)


def test_fewer_blocks_than_the_kernel_promises_are_found() -> None:
    (found,) = measure.faults(TENSOR._replace(blocks=9), figures())
    assert found == "expected 9 blocks on a multiprocessor, got 8 for its registers"


# --- the tools ---


def test_ptxas_and_nvvm_must_agree_on_the_version() -> None:
    ptx = dot.ptx((8, 0))
    assert ".version 9" in ptx
    newer = ptx.replace(".version 9", ".version 99", 1)
    with pytest.raises(
        RuntimeError, match=r"expected ptxas to read PTX 99\.\d+, .* install nvidia-cuda-nvcc of the same"
    ):
        toolchain.assemble(newer, (8, 0))


def test_wrong_ptx() -> None:
    with pytest.raises(ValueError, match=r"expected PTX that assembles for sm_80, ptxas says: .*[Ss]yntax"):
        toolchain.assemble(
            ".version 8.0\n.target sm_80\n.address_size 64\n.entry f() { no such thing; }\n", (8, 0)
        )


def test_more_than_one_kernel() -> None:
    two = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry f() { ret; }\n.visible .entry g() { ret; }\n"
    with pytest.raises(ValueError, match="expected one kernel in what ptxas prints, got 2"):
        toolchain.assemble(two, (8, 0))


def test_a_missing_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    toolchain.find.cache_clear()
    monkeypatch.setattr("cuda.pathfinder.find_nvidia_binary_utility", lambda tool: None)
    with pytest.raises(RuntimeError, match="expected nvdisasm, got none; pip install nvidia-cuda-nvdisasm"):
        toolchain.find("nvdisasm")
    monkeypatch.undo()
    toolchain.find.cache_clear()


# --- nvdisasm's text ---

NESTED = """
.text.f:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   LDG.E.128 R8, [R10.64] ;
.L_x_1:
        /*0020*/                   FFMA R1, R2, R3, R1 ;
        /*0030*/                   LDS R4, [R5] ;
        /*0040*/               @P1 BRA `(.L_x_3) ;
.L_x_2:
        /*0050*/              @!P0 BRA `(.L_x_1) ;
        /*0060*/                   BRA.U UP0, `(.L_x_0) ;
        /*0070*/                   EXIT ;
.L_x_3:
        /*0080*/                   FFMA R1, R2, R3, R1 ;
        /*0090*/                   BRA `(.L_x_2) ;
.L_x_4:
        /*00a0*/                   BRA `(.L_x_4);
        /*00b0*/                   NOP;
"""


def test_loops_are_natural_ones() -> None:
    """The block behind the exit belongs to the inner loop; the trap behind it, which nothing reaches, is no loop."""
    code = sass.parse(NESTED)
    assert code.labels[".L_x_1"] == 2
    assert [(loop.head, sorted(loop.members)) for loop in sass.loops(code)] == [
        (1, [1, 2, 3, 4, 5, 6, 8, 9]),
        (2, [2, 3, 4, 5, 8, 9]),
    ]
    hot = sass.hot_loop(code, "FFMA")
    assert hot is not None
    assert hot.head == 2
    inside = hot.instructions(code)
    assert sass.histogram(inside) == {"FFMA": 2, "LDS": 1, "BRA": 3}
    assert sass.share(inside, "FFMA") == 2 / 6
    assert sass.wide_share(inside, sass.SHARED_LOADS) == 0.0
    assert sass.wide_share(inside, sass.GLOBAL_LOADS) is None
    assert sass.hot_loop(code, "HMMA") is None


def test_a_guarded_exit_goes_on() -> None:
    code = sass.parse("        /*0000*/   @P0 EXIT ;\n        /*0010*/   EXIT ;\n")
    assert sass.successors(code) == [[1], []]
    assert code.instructions[0] == sass.Instruction("@P0", "EXIT", "")


def test_a_jump_that_conditions_stand_before_goes_on_too() -> None:
    lines = ("BRA P1, `(.L_x_9)", "BRA.DIV UR4, `(.L_x_9)", "BRA `(.L_x_9)", "EXIT")
    text = "\n".join(f"        /*00{number}0*/   {line} ;" for number, line in enumerate(lines))
    code = sass.parse(f"{text}\n.L_x_9:\n        /*0090*/   EXIT ;")
    assert sass.successors(code) == [[4, 1], [4, 2], [4], [], []]


def test_what_never_runs_is_read_as_nothing() -> None:
    code = sass.parse("  /*0000*/   @!PT LDS RZ, [RZ] ;\n  /*0010*/   EXIT ;\n")
    assert code.instructions[0] == sass.Instruction("", "NOP", "")


def test_a_jump_through_a_table() -> None:
    table = 'BRX R8 -0x60 (*"BRANCH_TARGETS .L_x_0,.L_x_1"*)'
    code = sass.parse(
        f".L_x_0:\n  /*0000*/ NOP ;\n.L_x_1:\n  /*0010*/ NOP ;\n  /*0020*/   {table};\n  /*0030*/ EXIT ;"
    )
    assert sass.successors(code) == [[1], [2], [0, 1], []]


@pytest.mark.parametrize(
    ("opcode", "bits"),
    [
        ("LDG.E.128.CONSTANT", 128),
        ("LDG.E.64", 64),
        ("LDG.E", 32),
        ("LDG.E.U8", 8),
        ("LDS.U.128", 128),
        ("LDS.U16", 16),
        ("LDSM.16.MT88.4", 128),
        ("LDSM.16.M88.2", 64),
        ("LDSM.16.M88", 32),
        ("LDGSTS.E.BYPASS.128.ZFILL", 128),
        ("LDGSTS.E.LTC128B.128", 128),
        ("LDGSTS.E.LTC128B", 32),
        ("STG.E.128", 128),
    ],
)
def test_widths(opcode: str, bits: int) -> None:
    assert sass.Instruction("", opcode, "").bits == bits


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a kernel's instructions, got none"),
        ("        /*0000*/   {{ what ;", "expected an instruction, got "),
        ("        /*0000*/   BRX R2 -0x10 ;", "expected a jump whose targets are known, got BRX R2 -0x10"),
        ("        /*0000*/   BRA 0x40 ;", "expected a jump to a label, got BRA 0x40"),
        ("        /*0000*/   BRA `(.L_x_7) ;", "expected a jump to a label, got BRA"),
    ],
)
def test_what_is_not_understood_is_an_error(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sass.loops(sass.parse(text))


# --- occupancy ---


@pytest.mark.parametrize(
    ("capability", "threads", "registers", "shared", "blocks", "limit"),
    [
        ((8, 0), 256, 128, 16640, 2, "registers"),
        (
            (8, 0),
            256,
            129,
            16640,
            1,
            "registers",
        ),  # 129 * 32 is 17 units of 256: 3 warps in a part, 12 in all
        ((8, 0), 32, 16, 0, 32, "blocks"),
        ((8, 6), 32, 16, 0, 16, "blocks"),
        ((9, 0), 1024, 32, 0, 2, "threads"),
        ((12, 0), 1024, 32, 0, 1, "threads"),
        ((7, 5), 256, 64, 0, 4, "threads"),
        ((7, 5), 64, 32, 16384, 4, "shared"),
        ((8, 6), 64, 32, 49152, 2, "shared"),  # 2 * (48 + 1) KiB of 100
        ((9, 0), 64, 32, 49152, 4, "shared"),  # 4 * (48 + 1) KiB of 228
    ],
)
def test_occupancy(
    capability: tuple[int, int], threads: int, registers: int, shared: int, blocks: int, limit: str
) -> None:
    got = occupancy(capability, threads, registers, shared)
    assert (got.blocks, got.limit) == (blocks, limit)
    assert 0 < got.part <= 1


def test_every_architecture_has_limits() -> None:
    assert all(occupancy(one, 128, 40, 0).blocks >= 8 for one in CAPABILITIES)


def test_occupancy_of_an_unknown_architecture() -> None:
    with pytest.raises(
        ValueError, match=r"expected a compute capability among 7\.5, .* got \(6, 1\); add its limits"
    ):
        occupancy((6, 1), 128, 40, 0)


def test_occupancy_of_a_block_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"expected a block that fits .* too many of its registers"):
        occupancy((8, 0), 1024, 128, 0)
