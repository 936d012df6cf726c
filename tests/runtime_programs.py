"""Programs that the tests of cache and threads run in processes of their own: FILE NAME [ARGUMENT...].

Each prints one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
LIMIT = 120  # seconds that a program may take before it counts as hanging


def environment_with(kernels: Path = ROOT / "kernels", **changes: str) -> dict[str, str]:
    """The environment, with these changes, of a process that finds the packages and the tests' modules."""
    paths = [str(kernels), str(ROOT), str(HERE)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **changes}


def start(
    name: str, *arguments: object, kernels: Path = ROOT / "kernels", **environment: str
) -> subprocess.Popen:
    """Starts a program, with the kernels in this folder and these changes to the environment."""
    return subprocess.Popen(
        [sys.executable, __file__, name, *map(str, arguments)],
        env=environment_with(kernels, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(program: subprocess.Popen) -> dict:
    """What a program printed, once it has ended by itself, without an error or a warning."""
    try:
        out, error = program.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        program.kill()
        raise
    assert (program.returncode, error) == (0, ""), f"exit code {program.returncode}, standard error:\n{error}"
    return json.loads(out)


def run(name: str, *arguments: object, **options: object) -> dict:
    """Runs a program and returns what it printed."""
    return answer(start(name, *arguments, **options))  # type: ignore[arg-type]


def imports(*modules: str) -> dict:
    """What importing these modules drags in."""
    for module in modules:
        importlib.import_module(module)
    return {"modules": sorted(sys.modules)}


def cpu_imports() -> dict:
    """What importing every CPU kernel compiles, and what it drags in."""
    import cnnlite_kernels.cpu

    for module in pkgutil.walk_packages(cnnlite_kernels.cpu.__path__, "cnnlite_kernels.cpu."):
        importlib.import_module(module.name)
    from cnnlite_kernels.cpu import jit

    return {"compiled": sorted(jit.compile_seconds), "modules": sorted(sys.modules)}


def variants(gate: str, *values: str) -> dict:
    """Waits until the gate (a path) is there, then asks for variants of one kernel in this order."""
    import runtime_kernels

    from cnnlite_kernels.cpu import jit

    while not os.path.exists(gate):
        time.sleep(0.001)
    answers = {value: runtime_kernels.answer(runtime_kernels.variant, int(value)) for value in values}
    return {"answers": answers, "compiled": sorted(jit.compile_seconds)}


def dropout() -> dict:
    """The mask that the compiled generator draws with constants of another file, and what was compiled."""
    import numpy as np

    from cnnlite_kernels.cpu import jit
    from cnnlite_kernels.cpu.dropout import add_dropout
    from cnnlite_kernels.cpu.images import Images
    from cnnlite_kernels.cpu.memory import pointer_to
    from cnnlite_kernels.cpu.plan import Job, Part, Plan

    x, key, first = np.ones((1, 8, 8, 1), np.float32), np.array([12345], np.int64), np.zeros(1, np.int64)
    plan = Plan()
    images = Images(pointer_to(x), *x.shape)
    add_dropout(plan, images, images, 0.5, pointer_to(key), 0, pointer_to(first))
    Job([[Part(plan)]]).run()
    return {"mask": (x.reshape(-1) > 0).tolist(), "compiled": sorted(jit.compile_seconds)}


def documented_network() -> dict:
    """What the documented network has to compile to train, evaluate and predict."""
    import networks
    import numpy as np

    from cnnlite_kernels.cpu import jit

    model = networks.documented()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    images, labels = np.zeros((80, 28, 28, 1)), np.arange(80) % 10
    model.fit(images[:64], labels[:64], verbose=0)
    model.evaluate(images, labels, verbose=0)
    model.predict(images, verbose=0)
    return {"compiled": sorted(jit.compile_seconds)}


def work_and_leave(threads: str, pause: str, how: str) -> dict:
    """Uses the pool and ends after a pause, while its workers spin or sleep."""
    import runtime_kernels

    from cnnlite_kernels.cpu import threads as pool

    pool.set_num_threads(int(threads))
    right = runtime_kernels.right(times=3)
    if how == "daemon":
        import threading

        sums = runtime_kernels.Sums(100_000)
        threading.Thread(target=_for_ever, args=(sums.run,), daemon=True).start()
    time.sleep(float(pause))
    return {"right": right}


def _for_ever(call) -> None:
    while True:
        call()


def default_threads() -> dict:
    """The number of threads nobody asked for, with one CPU and with all that there are."""
    from cnnlite_kernels.cpu import threads

    before = threads.get_num_threads()
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    threads.set_num_threads(None)
    return {"before": before, "cpus": len(cpus), "pinned": threads.get_num_threads()}


def interrupt(times: str) -> dict:
    """Interrupts a long job as Ctrl-C does, again and again, and looks whether it is right afterwards."""
    import runtime_kernels

    from cnnlite_kernels.cpu import threads

    threads.set_num_threads(2)
    sums = runtime_kernels.Sums(20_000)
    expected = sums.run()
    interrupted = right = 0
    for i in range(int(times)):
        signal.setitimer(signal.ITIMER_REAL, 0.001 + 0.0007 * i)
        try:
            while True:
                sums.run()
        except KeyboardInterrupt:
            interrupted += 1
        right += bool((sums.run() == expected).all())
    return {"interrupted": interrupted, "right": right}


def main(arguments: Sequence[str]) -> None:
    """Runs the program that the command line names."""
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.default_int_handler)
    print(json.dumps(globals()[arguments[0]](*arguments[1:])))


if __name__ == "__main__":
    main(sys.argv[1:])
