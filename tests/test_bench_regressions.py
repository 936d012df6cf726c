"""bench/regressions.py: what counts as slower, what as noise."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import regressions
from roofline.rows import Row, Run
from saved_runs import LIMITS, MACHINE, row, write_kernels


def run(*rows: Row, **machine: str) -> Run:
    return Run(rows, (LIMITS,), {**MACHINE, **machine})


def test_a_slower_row_is_named() -> None:
    text, slower = regressions.report(run(row("a"), row("b")), run(row("a"), row("b", seconds=1.3e-3)))
    assert slower
    assert "Rows that got slower" in text
    assert "| conv2d b, 1 thread | 1    | 1.30" in text
    assert "Slower: conv2d, conv2d b, 1 thread." in text


def test_a_busy_machine_that_slows_the_reference_too_is_no_alarm() -> None:
    text, slower = regressions.report(run(row("a")), run(row("a", seconds=2e-3, reference=2e-3)))
    assert not slower
    assert "Nothing got slower beyond the noise." in text
    assert "NumPy's product on 1 thread took 2.00 times as long in the second" in text


def test_a_faster_reference_uncovers_a_slower_row() -> None:
    assert regressions.report(run(row("a")), run(row("a", reference=0.5e-3)))[1]


@pytest.mark.parametrize(("spread", "slower"), [(0.01, True), (0.2, False)])
def test_noise_widens_what_is_allowed(spread: float, slower: bool) -> None:
    before, after = row("a", spread=spread), row("a", seconds=1.35e-3, spread=spread)
    assert regressions.report(run(before), run(after))[1] == slower


def test_many_rows_show_what_one_row_cannot() -> None:
    names = [f"case{number}" for number in range(40)]
    before = run(*(row(name) for name in names))
    after = run(*(row(name, seconds=1.04e-3) for name in names))
    changes, (middle,) = regressions.compare(before, after)
    assert {each.verdict for each in changes} == {"same"}
    assert (middle.name, middle.rows, middle.verdict) == ("conv2d", 40, "slower")
    assert middle.ratio == pytest.approx(1.04)


def test_other_ops_do_not_hide_a_slower_one() -> None:
    before = run(row("a"), row("a", op="matmul"))
    after = run(row("a", seconds=1.4e-3), row("a", op="matmul", seconds=0.5e-3))
    text, slower = regressions.report(before, after)
    assert slower
    assert "Rows that got faster" in text


def test_what_a_new_process_may_change_is_named_and_no_alarm() -> None:
    names = [f"case{number}" for number in range(40)]
    before = run(*(row(name) for name in names))
    after = run(*(row(name, seconds=1.15e-3 if name == "case7" else 1e-3) for name in names))
    text, slower = regressions.report(before, after)
    assert not slower
    assert "| conv2d case7, 1 thread | 1    | 1.15" in text
    assert (
        "Nothing got slower beyond what a new process may change; a further run of the second says more."
        in text
    )
    assert regressions.confirmed(before, after, [after])[1]
    assert not regressions.confirmed(before, after, [before])[1]


def test_rows_that_say_nothing_are_named() -> None:
    before, after = (
        run(row("a", spread=1.0), row("gone")),
        run(row("a", spread=1.0), row("new"), processor="other"),
    )
    text, slower = regressions.report(before, after)
    assert not slower
    assert "1 of 1 rows are too noisy" in text
    assert "Only in the first run: conv2d gone, 1 thread." in text
    assert "Only in the second run: conv2d new, 1 thread." in text
    assert "different processors" in text


def test_only_what_is_slower_in_every_run_counts() -> None:
    before = run(row("a"), row("b"))
    after, unlucky = run(row("a"), row("b", seconds=1.3e-3)), run(row("b", seconds=1.3e-3))
    assert regressions.confirmed(before, after, [])[1]
    text, slower = regressions.confirmed(before, after, [unlucky])
    assert slower
    assert "Slower in every run: conv2d, conv2d b, 1 thread." in text
    text, slower = regressions.confirmed(before, after, [unlucky, before])
    assert not slower
    assert text.endswith("Nothing is slower in every run.")


def test_runs_without_a_common_row_are_refused() -> None:
    with pytest.raises(ValueError, match="regressions: expected two runs with rows in common, got none"):
        regressions.report(run(row("a")), run(row("b")))


@pytest.mark.parametrize(("seconds", "status"), [(1e-3, 0), (2e-3, 1)])
def test_the_exit_status(
    seconds: float,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = write_kernels(tmp_path / "before.json", [row("a")])
    after = write_kernels(tmp_path / "after.json", [row("a", seconds=seconds)])
    monkeypatch.setattr(sys, "argv", ["regressions.py", str(before), str(after)])
    assert regressions.main() == status
    assert "times as long" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["regressions.py", str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert regressions.main() == 2
    assert "a.json" in capsys.readouterr().err
