"""How the driver talks to a worker: one line of JSON for a request, one for the reply.

A worker is a process in the environment of one peer. It knows some kinds of measurement. The driver asks it
to `prepare` one, compares the answers of all workers, and then asks each in turn to `measure` for about a
second. Between requests the driver stops the process with a signal, so that no idle thread of one peer spins
while another is timed, and no peer's own settings for waiting need to be changed for that.

Needs numpy only: each worker imports it in the environment of its peer.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeAlias

import numpy as np

ANSWER_SIZE = 1000
BLOCK_SECONDS = 0.02
# A variant that is this many times slower at first is not tried again.
HOPELESS = 1.5
NOT_DONE = "does not do this"

Request: TypeAlias = Mapping[str, Any]


class Absent(Exception):
    """This peer does not do what was asked; the message says why and the table shows it."""


@dataclass(frozen=True)
class Measurement:
    """`once` does the work for `items` items; `answer` gives what must agree between peers.

    A measurement without `once` has its result ready: `value`.
    """

    once: Callable[[], object] | None
    items: float
    answer: Callable[[], Any] | None = None
    note: str = ""
    value: float | None = None


def time_for(measurement: Measurement, seconds: float) -> float:
    """Seconds an item: the median over blocks of calls that together take about `seconds`.

    A block is as many calls as take 20 ms, so that reading the clock costs nothing beside a call of
    microseconds.
    """
    once = measurement.once
    if once is None:
        raise ValueError("time_for: this measurement has a value and nothing to time.")
    start = time.perf_counter()
    once()
    first = time.perf_counter() - start
    if first >= max(seconds, BLOCK_SECONDS):
        return first / measurement.items
    calls = max(1, int(BLOCK_SECONDS / max(first, 1e-9)))
    blocks: list[float] = []
    end = time.perf_counter() + seconds
    while not blocks or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(calls):
            once()
        blocks.append((time.perf_counter() - start) / calls)
    return median(blocks) / measurement.items


def fastest(variants: Mapping[str, Callable[[], Measurement]], seconds: float = 0.3) -> Measurement:
    """The quickest of several ways to do the same, with its name as the note; ways that fail are left out."""
    best: tuple[float, Measurement] | None = None
    failures = []
    for name, make in variants.items():
        try:
            made = make()
            time_for(made, 0.0)  # compiles and fills caches
            took = time_for(made, seconds)
            if best is None or took < HOPELESS * best[0]:
                took = min(took, time_for(made, seconds), time_for(made, seconds))
        except Exception as error:  # a peer's compiler can be missing in a hundred ways
            failures.append(f"{name}: {type(error).__name__}")
            print(f"{name} left out: {error}", file=sys.stderr)
            continue
        if best is None or took < best[0]:
            best = took, Measurement(made.once, made.items, made.answer, name, made.value)
    if best is None:
        raise Absent("; ".join(failures))
    return best[1]


def sample(answer: Any) -> list[float]:
    """At most a thousand elements, evenly spread, of an answer, as plain floats.

    >>> sample(np.arange(3.0))
    [0.0, 1.0, 2.0]
    """
    flat = np.asarray(answer, dtype=np.float64).reshape(-1)
    return [float(value) for value in flat[:: max(1, flat.size // ANSWER_SIZE)][:ANSWER_SIZE]]


def pin(threads: int) -> list[int]:
    """Keep this process on the last `threads` processors it may use; returns which, [] if it cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    chosen = sorted(os.sched_getaffinity(0))[-threads:]
    os.sched_setaffinity(0, chosen)
    return chosen


def thread_count() -> int:
    """How many threads the driver asked this worker to use."""
    return int(os.environ.get("CNNLITE_BENCH_THREADS", "1"))


def serve(
    versions: Callable[[], dict[str, str]], kinds: Mapping[str, Callable[[Request], Measurement]]
) -> None:
    """Answer requests until standard input closes.

    `versions` names the libraries; `kinds` maps a kind of measurement to the function that prepares it.
    """
    # Libraries write to standard output what they like; the replies keep the real one to themselves.
    replies = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    prepared: Measurement | None = None
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any]
        try:
            if request["do"] == "hello":
                reply = {"versions": versions(), "cpus": CPUS}
            elif request["do"] == "prepare":
                if request["kind"] not in kinds:
                    raise Absent(NOT_DONE)
                prepared = None
                prepared = kinds[request["kind"]](request)
                answer = [] if prepared.answer is None else sample(prepared.answer())
                if prepared.once is not None:
                    prepared.once()
                reply = {"answer": answer, "note": prepared.note}
            elif prepared is None:
                raise ValueError(f"{request['do']}: nothing is prepared.")
            elif prepared.value is not None:
                reply = {"value": prepared.value}
            else:
                reply = {"value": time_for(prepared, request["seconds"])}
        except Absent as reason:
            reply = {"absent": str(reason)}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")


# Set before a worker imports its library: thread pools are sized by what they find then.
CPUS = pin(thread_count()) if "CNNLITE_BENCH_THREADS" in os.environ else []
