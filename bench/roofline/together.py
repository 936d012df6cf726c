"""Work on several threads at once, timed from the first start to the last end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence


def seconds_together(calls: Sequence[Callable[[], object]]) -> float:
    """Runs each call on a thread of its own, all beginning at once, and returns seconds until the last has ended.

    The calls must give up the interpreter's lock while they work, or they take turns.

    Raises:
        Exception: what a call raised.

    >>> seconds_together([lambda: None, lambda: None]) >= 0
    True
    """
    barrier = threading.Barrier(len(calls))
    begun, ended = [0.0] * len(calls), [0.0] * len(calls)
    problems: list[BaseException] = []

    def run(number: int) -> None:
        barrier.wait()
        begun[number] = time.perf_counter()
        try:
            calls[number]()
        except BaseException as problem:
            problems.append(problem)
        ended[number] = time.perf_counter()

    helpers = [threading.Thread(target=run, args=(number,)) for number in range(1, len(calls))]
    for helper in helpers:
        helper.start()
    run(0)
    for helper in helpers:
        helper.join()
    if problems:
        raise problems[0]
    return max(ended) - min(begun)
