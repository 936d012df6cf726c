"""Progress: what stands in a terminal, a notebook and a log file after each kind of run."""

from __future__ import annotations

import io
import re
import struct
import sys

import pytest

from cnnlite import progress
from cnnlite.progress import Progress, duration, text_width

FIRST = {"accuracy": 0.5, "loss": 0.75}
LAST = {"accuracy": 0.9, "loss": 0.28, "val_accuracy": 0.88, "val_loss": 0.33}


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    """A terminal that keeps every version of its lines."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def versions(self) -> list[str]:
        """Return all that was shown on some line at some time, without colours."""
        return [
            part for part in re.split("[\r\n]", re.sub("\x1b\\[[0-9]*m", "", self.getvalue())) if part.strip()
        ]

    def lines(self) -> list[str]:
        """Return what is left on the screen."""
        shown = []
        for line in re.sub("\x1b\\[[0-9]*m", "", self.getvalue()).split("\n"):
            kept = ""
            for version in line.split("\r"):
                kept = version + kept[len(version) :]
            shown.append(kept.rstrip())
        return shown


class Ascii(Terminal):
    encoding = "ascii"


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("PYCHARM_HOSTED", raising=False)


def run(verbose, stream, total=100, epochs=1, steps=100, seconds=1 / 64, final=LAST, logs=FIRST) -> None:
    """Train for 100 steps of 32 images and 1/64 second, the first with 3 seconds of compilation."""
    clock = Clock()
    with Progress(verbose, total, stream=stream, clock=clock) as bar:
        for epoch in range(epochs):
            bar.epoch_begin(epoch, epochs)
            clock.now += 3
            for step in range(1, steps + 1):
                clock.now += seconds
                bar.update(step, 32 * step, logs)
            clock.now += 1
            bar.epoch_end(final)


def test_verbose_2_is_keras_line():
    out = io.StringIO()
    run(2, out, epochs=2)
    # 3 s + 100 steps + 1 s of validation
    values = "accuracy: 0.9000 - loss: 0.2800 - val_accuracy: 0.8800 - val_loss: 0.3300"
    line = f"100/100 - 6s - 16ms/step - {values}\n"
    assert out.getvalue() == f"Epoch 1/2\n{line}Epoch 2/2\n{line}"


def test_evaluate_prints_one_line():
    out, clock = io.StringIO(), Clock()
    with Progress(2, 313, stream=out, clock=clock) as bar:
        for step in range(1, 314):
            clock.now += 0.001
            bar.update(step, 32 * step, FIRST)
        bar.epoch_end({"accuracy": 0.9, "loss": 0.28})
    assert out.getvalue() == "313/313 - 0s - 1ms/step - accuracy: 0.9000 - loss: 0.2800\n"


def test_a_log_file_gets_a_plain_line_an_epoch():
    out = io.StringIO()
    run(1, out, epochs=2, final=FIRST)
    lines = out.getvalue().splitlines()
    assert (
        lines[0] == "Epoch 1/2 - 100/100 - 6s - 16ms/step - 2,048 images/s - accuracy: 0.5000 - loss: 0.7500"
    )
    assert lines[1].startswith("Epoch 2/2 - 100/100")
    assert len(lines) == 2
    assert not re.search(r"[^\n -~]", out.getvalue())


def test_verbose_0_is_silent():
    out = Terminal()
    run(0, out)
    assert out.getvalue() == ""


def test_a_terminal_line_is_rewritten():
    out = Terminal()
    run(1, out, final=FIRST)
    assert out.lines() == [
        "Epoch 1/1",
        "100/100 ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 6s - 2,048 images/s - accuracy: 0.5000 - loss: 0.7500",
        "",
    ]
    middle = [line for line in out.versions() if " 50/100" in line]
    assert middle == [
        " 50/100 ━━━━━━━━━━━━━━━───────────────  1s left - 2,048 images/s - accuracy: 0.5000 - loss: 0.7500"
    ]
    assert "\x1b[32m" in out.getvalue()


def test_no_colour_on_request(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    run(1, out)
    assert "\x1b" not in out.getvalue()


def test_it_draws_ten_times_a_second_at_most():
    out = Terminal()
    run(1, out, seconds=0.001, steps=1000, total=1000)
    assert 10 <= len([line for line in out.versions() if "left" in line]) <= 12


def test_values_are_fetched_only_to_be_drawn():
    calls = []

    def values():
        calls.append(1)
        return FIRST

    run(1, Terminal(), seconds=0.001, steps=1000, total=1000, logs=values)
    assert 10 <= len(calls) <= 12
    calls.clear()
    run(1, io.StringIO(), logs=values)
    run(2, io.StringIO(), logs=values)
    run(0, io.StringIO(), logs=values)
    assert not calls


@pytest.mark.parametrize("columns", [1, 2, 9, 20, 40, 60, 80, 81, 100, 120, 300])
@pytest.mark.parametrize(
    "logs", [FIRST, LAST, {"損失": 0.5, "精度": 0.5}, {}], ids=["two", "four", "wide", "none"]
)
def test_no_line_is_wider_than_the_terminal(monkeypatch, columns, logs):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = Terminal()
    run(1, out, logs=logs, final=logs)
    drawn = re.sub("\x1b\\[[0-9]*m", "", out.getvalue())
    rewritten = [part for line in drawn.split("\n") for part in line.split("\r")[1:]]
    assert rewritten
    assert max(map(text_width, rewritten)) < max(columns, 2)


def test_final_values_that_do_not_fit_take_lines_of_their_own(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = Terminal()
    run(1, out)
    assert out.lines()[1:] == [
        "100/100 ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 6s - 2,048 images/s",
        "    accuracy: 0.9000 - loss: 0.2800 - val_accuracy: 0.8800 - val_loss: 0.3300",
        "",
    ]


def test_a_shorter_line_leaves_nothing_of_the_longer(monkeypatch):
    out = Terminal()
    clock = Clock()
    with Progress(1, 2, stream=out, clock=clock) as bar:
        bar.update(1, 1, LAST)
        clock.now += 1
        bar.update(2, 2, {})
        assert "val_loss" not in out.lines()[-1]


def test_ascii_where_the_encoding_has_no_bar(monkeypatch):
    out = Ascii()
    run(1, out, final=FIRST, logs={"ménage": 1.0})
    assert out.getvalue().isascii()
    assert "100/100 ============================== 6s" in out.lines()[1]
    assert any("===............... " in line and "m?nage: 1.0000" in line for line in out.versions())


@pytest.mark.parametrize("stream_type", [Terminal, io.StringIO])
def test_an_unknown_total_counts(stream_type):
    out = stream_type()
    run(1, out, total=None, final=FIRST)
    last = [line for line in out.getvalue().replace("\r", "\n").splitlines() if line.strip()][-1]
    assert "100/100" in last
    if stream_type is Terminal:
        assert any("50/? 4s - 2,048 images/s" in line for line in out.versions())


def test_an_unknown_number_of_images_shows_the_step_time():
    out, clock = Terminal(), Clock()
    with Progress(1, 4, stream=out, clock=clock) as bar:
        clock.now += 1
        bar.update(1, 0, {})
        bar.epoch_end({})
    assert out.lines()[0].endswith(" 1s - 1s/step")


def test_images_per_step_stands_in():
    out, clock = io.StringIO(), Clock()
    with Progress(1, 4, images_per_step=50, stream=out, clock=clock) as bar:
        clock.now += 2
        bar.update(4, None, {})
        bar.epoch_end({})
    assert out.getvalue() == "4/4 - 2s - 500ms/step - 100 images/s\n"


def test_an_interrupted_line_is_ended():
    out = Terminal()

    def interrupted():
        with Progress(1, 10, stream=out, clock=Clock()) as bar:
            bar.update(1, 32, FIRST)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert out.lines()[-1] == ""
    assert out.getvalue().count("\n") == 1


def test_a_message_takes_a_line_of_its_own():
    out, clock = Terminal(), Clock()
    with Progress(1, 10, stream=out, clock=clock) as bar:
        bar.update(1, 32, FIRST)
        bar.message("saved to best.npz")
        clock.now += 1
        bar.update(2, 64, FIRST)
    lines = out.lines()
    assert lines[0] == "saved to best.npz"
    assert " 2/10 " in lines[1]


@pytest.mark.parametrize("verbose", [0, 2])
def test_a_message_is_printed_in_any_case(verbose):
    out = io.StringIO()
    Progress(verbose, 10, stream=out).message("saved")
    assert out.getvalue() == "saved\n"


def test_a_notebook_is_rewritten_twice_a_second(monkeypatch):
    notebook = type(
        "OutStream", (Terminal,), {"__module__": "ipykernel.iostream", "isatty": lambda self: False}
    )
    out = notebook()
    run(1, out, seconds=0.001, steps=2000, total=2000, final=FIRST)
    assert 4 <= len([line for line in out.versions() if "left" in line]) <= 6
    assert max(map(len, out.versions())) <= progress.NOTEBOOK_WIDTH


def test_a_dumb_terminal_is_a_log(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    out = Terminal()
    run(1, out)
    assert "\r" not in out.getvalue()


def test_pycharm_goes_back_to_the_start_of_a_line(monkeypatch):
    monkeypatch.setenv("PYCHARM_HOSTED", "1")
    out = io.StringIO()
    run(1, out)
    assert "\r" in out.getvalue()


def test_a_program_without_a_console_is_silent(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    bar = Progress(1, 10)
    bar.update(1, 1, FIRST)
    bar.epoch_end(FIRST)
    bar.message("hello")
    assert bar.verbose == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_the_width_is_that_of_the_terminal_written_to():
    import fcntl
    import os
    import pty
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
    with os.fdopen(slave, "w", encoding="utf-8") as out:
        run(1, out, logs=LAST, steps=1)
        written = re.sub("\x1b\\[[0-9]*m", "", os.read(master, 100_000).decode())
    os.close(master)
    assert max(len(line) for line in re.split("[\r\n]+", written)) == 49


@pytest.mark.parametrize("verbose", [3, -1, "auto", None])
def test_verbose_is_0_1_or_2(verbose):
    with pytest.raises(
        ValueError, match=r"Progress: expected verbose of 0, 1 or 2, got .* Use 0 for silence"
    ):
        Progress(verbose, 10)


def test_stopping_early_shows_how_far_it_came():
    out = io.StringIO()
    run(2, out, steps=40)
    assert "\n 40/100 - " in out.getvalue()


def test_an_epoch_without_steps_ends():
    out = io.StringIO()
    run(2, out, steps=0)
    assert out.getvalue().splitlines()[1].startswith("  0/100 - 4s - accuracy")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59.4, "59s"), (59.6, "1:00"), (3599.9, "1:00:00"), (36000, "10:00:00")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0000"),
        (1e-3, "1.0000e-03"),
        (-0.5, "-0.5000"),
        (12345.678, "12345.6780"),
        (3e9, "3.0000e+09"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_numbers(value, text):
    out = io.StringIO()
    bar = Progress(2, 1, stream=out)
    bar.epoch_end({"loss": value})
    assert out.getvalue() == f"0/1 - 0s - loss: {text}\n"
