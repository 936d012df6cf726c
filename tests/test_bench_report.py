"""bench/scaling.py and bench/report.py: ideals, tables, and a page with its pictures from small saved runs."""

from __future__ import annotations

import argparse
import doctest
import importlib
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import cases
import pytest
import report
import scaling
from growth import plans, tables
from growth.series import THREADS, Plan, Point, Series
from pages import drawing, page, saved
from peers import table
from saved_runs import MACHINE, row, write_kernels, write_peers

import cnnlite

SERIES = [
    Series("conv2d", THREADS, "GFLOP/s", (Point(1, 10.0, (1.0, 1.2, 1.0)), Point(2, 10.0, (0.8,)))),
    Series("network, training", "batch", "images/s", (Point(1, 1.0, (0.01,)), Point(100, 100.0, (0.5,)))),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all three files."""
    found = tmp_path / "saved"
    found.mkdir()
    write_kernels(found / saved.KERNELS, [row("a"), row("b", op="matmul", seconds=0.6e-3)])
    write_peers(found / saved.PEERS)
    tables.save(SERIES, MACHINE, found / saved.SCALING)
    return found


@pytest.mark.parametrize(
    "name",
    [
        "growth.plans", "growth.series",
        "peers.installed_size", "peers.protocol", "peers.results", "regressions", "report",
        "roofline.limits", "roofline.machine",
        "roofline.operands", "roofline.together", "roofline.work", "scaling",
    ],
)  # fmt: skip
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0


def test_shares_of_the_ideal() -> None:
    threads, batch = SERIES
    assert [threads.share(point) for point in threads.points] == [1.0, pytest.approx(0.625)]
    assert [batch.share(point) for point in batch.points] == [0.5, 1.0]
    assert batch.ideal_seconds(batch.points[0]) == pytest.approx(0.005)
    assert threads.points[0].spread == pytest.approx(0.1)


def test_a_table_of_scaling() -> None:
    text = tables.table(SERIES[1:])
    assert "| network, training | 1     | 10 ms ±0%  | 100 images/s | 50%" in text
    assert "| network, training | 100   | 500 ms ±0% | 200 images/s | 100%" in text


def test_series_come_back_from_a_file(tmp_path: Path) -> None:
    tables.save(SERIES, MACHINE, tmp_path / "s.json")
    assert tables.load(tmp_path / "s.json") == (SERIES, MACHINE)
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(
        ValueError, match=r"s.json: expected a file of `python bench/scaling.py --json FILE`, got KeyError"
    ):
        tables.load(tmp_path / "s.json")


def test_threads_are_set_for_each_point_and_given_back() -> None:
    seen = []
    before = cnnlite.get_num_threads()
    plan = Plan(
        "a", THREADS, "images/s", (1, 2), lambda _: (lambda: seen.append(cnnlite.get_num_threads()), 1.0)
    )
    found = plan.measure(seconds=0.0, rounds=2)
    assert {1, 2} == set(seen)
    assert cnnlite.get_num_threads() == before
    assert [len(point.seconds) for point in found.points] == [2, 2]


def test_every_axis_has_plans_and_quick_ones_run() -> None:
    assert [
        axis for axis in plans.AXES if any(plan.axis == axis for plan in plans.all_plans(4, False))
    ] == list(plans.AXES)
    for plan in plans.all_plans(1, quick=True):
        if plan.axis != THREADS:
            call, amount = plan.make(plan.sizes[0])
            call()
            assert amount > 0


def test_axes_and_sets_are_chosen_by_name() -> None:
    for choose, names in ((scaling.chosen_axes, "threads,batch"), (report.chosen_sets, "peers,kernels")):
        with pytest.raises(argparse.ArgumentTypeError, match=f"expected some of {names}.*, got 'x'"):
            choose("x")


def test_a_page_has_every_section(folder: Path, tmp_path: Path) -> None:
    text = page.write(saved.load(folder), tmp_path, pictures=False).read_text("utf-8")
    for wanted in (
        "- processor: made up",
        "training, `fit`",
        "### Convolution layers\n",
        "### Convolution layers in bfloat16\n",
        "| resnet50_conv2_3x3 | forward | 100 | 50 | | 2.00 | 25 | 4.00 |",
        "matmul",
        "network, training",
        "83% (b)",
    ):
        assert wanted in re.sub(" +", " ", text)
    assert ".png" not in text
    assert "### Under 80% of their limit\n\n1 of 2 rows, the worst first." in text
    assert "NOTES.md" not in text
    assert text.count("- processor: made up") == 3
    assert "Not measured" not in text


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_every_picture_is_drawn(folder: Path, tmp_path: Path) -> None:
    text = page.write(saved.load(folder), tmp_path).read_text("utf-8")
    names = {
        "batches.png", "costs.png", "layers.png", "peers.png", "roofline_1.png", "scaling_batch.png", "scaling_threads.png",
    }  # fmt: skip
    assert {path.name for path in (tmp_path / "plots").iterdir()} == names
    assert all(f"(plots/{name})" in text for name in names)


def test_what_is_not_there_is_said(folder: Path, tmp_path: Path) -> None:
    (folder / saved.PEERS).unlink()
    (folder / saved.SCALING).unlink()
    text = page.write(saved.load(folder), tmp_path, pictures=False).read_text("utf-8")
    assert "Not measured in this run: peers, scaling." in text
    (folder / saved.KERNELS).unlink()
    with pytest.raises(
        ValueError, match=r"expected kernels.json, peers.json or scaling.json in it, got none"
    ):
        saved.load(folder)


def test_another_file_for_the_peers_is_refused(folder: Path) -> None:
    (folder / saved.PEERS).write_text("[]")
    with pytest.raises(
        ValueError, match=r"peers.json: expected a file of `python bench/compare_peers.py --json FILE`"
    ):
        saved.load(folder)


def test_the_program_from_saved_files(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "README.md").write_text(f"before\n{table.BEGIN}\n{table.END}\nafter\n")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    words = ["--from", str(folder), "--out", str(tmp_path / "out"), "--no-plots", "--readme"]
    monkeypatch.setattr(sys, "argv", ["report.py", *words])
    assert report.main() == 0
    assert (tmp_path / "out" / "RESULTS.md").exists()
    readme = (tmp_path / "README.md").read_text("utf-8")
    assert "training, `fit`" in readme
    assert readme.startswith("before")
    assert readme.endswith("after\n")


def test_readme_shows_the_bars_of_the_project_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "ROOT", tmp_path / "project")
    for out in ("project/bench", "elsewhere"):
        plots = tmp_path / out / "plots"
        plots.mkdir(parents=True)
        (plots / "peers.png").touch()
    assert (
        report.readme_picture(tmp_path / "project" / "bench")
        == "![cnnlite and other libraries](bench/plots/peers.png)"
    )
    assert report.readme_picture(tmp_path / "elsewhere") == ""
    assert report.readme_picture(tmp_path) == ""


def test_readme_needs_the_peers(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / saved.PEERS).unlink()
    monkeypatch.setattr(
        sys, "argv", ["report.py", "--from", str(folder), "--out", str(tmp_path), "--no-plots", "--readme"]
    )
    assert report.main() == 2
    assert "report: expected the peers' figures for --readme, got none" in capsys.readouterr().err


def test_programs_are_asked_for_what_was_chosen(tmp_path: Path) -> None:
    asked = report.arguments(["--quick", "--torch", "a/python"])
    assert report.command("kernels", tmp_path / "k.json", asked)[-1] == "--bench-quick"
    assert report.command("peers", tmp_path / "p.json", asked)[-3:] == ["--torch", "a/python", "--quick"]
    assert report.command("scaling", tmp_path / "s.json", asked)[-1] == "--quick"


def test_a_program_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(RuntimeError, match=r"report: expected .* to measure and end with status 0, got 3"):
        report.measure(report.arguments(["--only", "scaling"]), tmp_path)


def test_kernels_are_kept_without_every_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_kernels(tmp_path / saved.KERNELS, [row("a")])
    monkeypatch.setattr(report, "command", lambda *_: [sys.executable, "-c", ""])
    report.measure(report.arguments(["--only", "kernels"]), tmp_path)
    assert "data" not in json.loads(file.read_text())["benchmarks"][0]["stats"]


def test_plots_without_matplotlib_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RuntimeError, match=r"plots: expected matplotlib, got none; pip install matplotlib"):
        drawing.pyplot()


def test_the_large_shapes_are_large() -> None:
    assert all(case.flops > 1e6 for case in cases.LARGE_CONVS)
    assert {case.groups for case in cases.LARGE_CONVS} >= {1, 32, 512}
