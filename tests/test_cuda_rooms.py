"""Memory that outputs and gradients share on a device: never two that are needed at the same time."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda, which compiles the GPU's kernels, is not installed")

import networks
from hypothesis import given
from hypothesis import strategies as st
from interpreted import Interpreted

from cnnlite.engine.cuda import rooms
from cnnlite.engine.cuda.rooms import Life
from cnnlite.engine.stages import (
    ActivationStage,
    AddStage,
    ConvStage,
    DropoutStage,
    NormalizationStage,
    PoolStage,
    PReLUStage,
    Stage,
    TransposedConvStage,
    readers_of,
)
from cnnlite_kernels.cuda.plan import Plan


def shared(lives: dict[int, Life]) -> dict[int, np.ndarray]:
    return rooms.share(Plan(Interpreted()), lives)


def sizes(arrays: dict[int, np.ndarray]) -> list[int]:
    """Of the pieces of memory that arrays lie in."""
    return sorted({array.base.ctypes.data: array.base.size for array in arrays.values()}.values())


@st.composite
def drawn_lives(draw: st.DrawFn) -> dict[int, Life]:
    starts = draw(st.lists(st.integers(-9, 9), max_size=12))
    return {
        i: Life(start, start + draw(st.integers(0, 6)), draw(st.integers(0, 30)))
        for i, start in enumerate(starts)
    }


@given(drawn_lives())
def test_what_lives_at_the_same_moment_has_nothing_in_common(lives: dict[int, Life]) -> None:
    arrays = shared(lives)
    assert {i: array.size for i, array in arrays.items()} == {i: life.size for i, life in lives.items()}
    for i, one in lives.items():
        for j, other in lives.items():
            if i < j and one.first <= other.last and other.first <= one.last:
                assert not np.shares_memory(arrays[i], arrays[j])


def test_a_chain_takes_two_rooms_in_turn() -> None:
    arrays = shared({i: Life(i, i + 1, size) for i, size in enumerate([5, 9, 7, 2, 8, 3])})
    assert sizes(arrays) == [8, 9] or sizes(arrays) == [8, 9, 9]
    assert np.shares_memory(arrays[0], arrays[2])
    assert np.shares_memory(arrays[1], arrays[3])


def test_what_is_read_later_keeps_its_room_until_then() -> None:
    arrays = shared({0: Life(0, 4, 10), **{i: Life(i, i + 1, 10) for i in range(1, 7)}})
    assert sizes(arrays) == [10, 10, 10]


def stages_of(name: str) -> list[Stage]:
    model = networks.path(name)
    model.build()
    return model.network.stages(training=True)


def test_readers() -> None:
    assert readers_of(stages_of("joins of joins")) == {
        -1: [0, 0, 1], 0: [1, 1], 1: [2, 3], 2: [3, 4], 3: [4, 4, 4, 5], 4: [5, 5], 5: [6], 6: [7],
    }  # fmt: skip


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", networks.graphs())
def test_no_output_is_lost_before_it_was_read(name: str, keep: bool) -> None:
    """By a stage, or by the backward pass: by those that need their input, and those that need their output."""
    stages, plan = stages_of(name), Plan(Interpreted())
    last = len(stages) - 1
    given_arrays = {last: np.empty(2 * int(np.prod(stages[last].out_shape)), np.float32)}
    places = rooms.for_outputs(plan, stages, 2, given_arrays, keep)
    readers = readers_of(stages)
    assert places[last] is given_arrays[last]

    def needed_after(number: int) -> int:
        """The last stage that may not write over an output."""
        of, after = stages[number], stages[number + 1 : number + 2]
        reads_input = any(
            isinstance(stage, (ConvStage, TransposedConvStage, NormalizationStage, PReLUStage))
            for stage in after
        )
        reads_output = isinstance(of, (ActivationStage, PoolStage)) or getattr(of, "activation", None)
        if keep and (reads_input or reads_output):
            return last
        alone = len(readers[number]) == 1 and places[number] is places.get(number + 1)
        return number if alone else readers[number][-1]

    for number in range(last):
        assert places[number].size == 2 * np.prod(stages[number].out_shape)
        for later in range(number + 1, needed_after(number) + 1):
            if later <= last:
                assert not np.shares_memory(places[number], places[later]), (number, later)


def test_outputs_that_nobody_keeps_are_written_over() -> None:
    """A normalization needs its input, which is a convolution's output; its own output may become the activation's, or a sum.

    A rectifier behind a normalization is part of it. In the residual network the activation behind the first sum leaves it as it is,
    for the second one reads it.
    """
    for name, over in (("generator", [5]), ("residual", [4, 7])):
        stages = stages_of(name)
        places = rooms.for_outputs(Plan(Interpreted()), stages, 2, {}, keep=True)
        assert [number for number in range(1, len(stages)) if places[number] is places[number - 1]] == over


@pytest.mark.parametrize("name", networks.graphs())
def test_gradients_that_wait_at_the_same_time(name: str) -> None:
    """Each from the last stage that reads the output down to the stage that makes it; a sum's own goes on to what it alone reads,

    and an activation writes the one of its input over it.
    """
    stages, plan = stages_of(name), Plan(Interpreted())
    last = len(stages) - 1
    given_arrays = {
        last: np.empty(4 * int(np.prod(stages[last].out_shape)), np.float32),
        -1: np.empty(1, np.float32),
    }
    places, spare = rooms.for_gradients(plan, stages, 4, [True] * len(stages), given_arrays)
    readers = readers_of(stages)
    assert set(places) == set(readers)
    assert all(places[number] is given_arrays[number] for number in given_arrays)
    for lower in range(last):
        assert places[lower].size == 4 * np.prod(stages[lower].out_shape)
        assert spare is None or not np.shares_memory(spare, places[lower])
        for upper in range(lower + 1, last + 1):
            passed_on = all(
                isinstance(stages[number + 1], (ActivationStage, AddStage, DropoutStage))
                and readers[number] == [number + 1]
                for number in range(lower, upper)
            )
            if passed_on:
                assert places[lower] is places[upper]
            elif upper <= readers[lower][-1]:
                assert not np.shares_memory(places[lower], places[upper])


def test_no_spare_room_without_joins() -> None:
    stages = networks.path("strides").network.stages()
    given_arrays = {len(stages) - 1: np.empty(3, np.float32)}
    _, spare = rooms.for_gradients(Plan(Interpreted()), stages, 1, [True] * len(stages), given_arrays)
    assert spare is None
