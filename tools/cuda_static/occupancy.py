"""How many blocks of a kernel a multiprocessor can hold at once: a bound that follows from what the kernel needs.

The limits are those of the CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability", and of
`cuda/__device/arch_traits.h` in NVIDIA's CCCL, which says the same. The granularities are those of the occupancy
calculator: registers go to warps in units of 256, warps to the four parts of a multiprocessor, each with a quarter of the
registers, and shared memory in units of 128 bytes (256 on 7.5).
"""

from __future__ import annotations

from typing import NamedTuple

Capability = tuple[int, int]


class Limits(NamedTuple):
    """What a multiprocessor has. `reserved`: bytes of shared memory that the system takes for itself of each block."""

    threads: int
    blocks: int
    shared: int
    reserved: int
    shared_unit: int


KIB = 1024
LIMITS: dict[Capability, Limits] = {
    (7, 5): Limits(1024, 16, 64 * KIB, 0, 256),
    (8, 0): Limits(2048, 32, 164 * KIB, KIB, 128),
    (8, 6): Limits(1536, 16, 100 * KIB, KIB, 128),
    (8, 9): Limits(1536, 24, 100 * KIB, KIB, 128),
    (9, 0): Limits(2048, 32, 228 * KIB, KIB, 128),
    (10, 0): Limits(2048, 32, 228 * KIB, KIB, 128),
    (12, 0): Limits(1536, 24, 100 * KIB, KIB, 128),
}
CAPABILITIES = tuple(LIMITS)
REGISTERS, REGISTER_UNIT, PARTS, WARP = 65536, 256, 4, 32


class Occupancy(NamedTuple):
    """Blocks that fit at once, the part of the threads that they are, and what there is too little of for another."""

    blocks: int
    part: float
    limit: str


def occupancy(capability: Capability, threads: int, registers: int, shared: int) -> Occupancy:
    """The bound for blocks of `threads` threads of `registers` registers and `shared` bytes of shared memory.

    Raises:
        ValueError: an architecture without limits here, or a block that does not fit even alone.

    >>> occupancy((8, 0), 256, 128, 16640)
    Occupancy(blocks=2, part=0.25, limit='registers')
    """
    if capability not in LIMITS:
        names = ", ".join(f"{major}.{minor}" for major, minor in LIMITS)
        raise ValueError(
            f"occupancy: expected a compute capability among {names}, got {capability}; add its limits."
        )
    limits = LIMITS[capability]
    warps = -(-threads // WARP)
    of_a_warp = _rounded_up(registers * WARP, REGISTER_UNIT)
    with_registers = REGISTERS // PARTS // of_a_warp * PARTS
    with_shared = (
        limits.shared // _rounded_up(shared + limits.reserved, limits.shared_unit)
        if shared
        else limits.blocks
    )
    fits = {
        "blocks": limits.blocks,
        "threads": limits.threads // WARP // warps,
        "registers": with_registers // warps,
        "shared": with_shared,
    }
    limit = min(fits, key=lambda name: fits[name])
    if fits[limit] == 0:
        raise ValueError(
            f"occupancy: expected a block that fits a multiprocessor of {capability[0]}.{capability[1]}, got {threads} "
            f"threads of {registers} registers and {shared} bytes of shared memory: too many of its {limit}."
        )
    return Occupancy(fits[limit], fits[limit] * warps * WARP / limits.threads, limit)


def _rounded_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
