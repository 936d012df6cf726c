"""The command line: python -m cnnlite warmup, python -m cnnlite devices, python -m cnnlite tune."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def warmup(arguments: argparse.Namespace) -> None:
    """Compiles beforehand."""
    from cnnlite.warmup import warm_up

    warm_up(["float32", "float64"] if arguments.float64 else ["float32"])


def devices(arguments: argparse.Namespace) -> None:
    """Says what there is to compute with."""
    from cnnlite.devices import describe

    print(describe())


def tune(arguments: argparse.Namespace) -> None:
    """Measures what work costs."""
    from cnnlite.tune import tune as measure
    from cnnlite_kernels.cuda.driver import GpuError

    try:
        measure()
    except GpuError as problem:
        sys.exit(str(problem))


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    main = argparse.ArgumentParser(
        prog="python -m cnnlite",
        description="Convolutional networks whose every kernel is Python.",
        epilog="CNNLITE_CACHE_DIR names the folder of the compiled kernels ('none' for no cache), "
        "CNNLITE_CACHE_LOG=1 tells what the cache does, CNNLITE_NUM_THREADS sets the number of threads.",
    )
    commands = main.add_subparsers(title="commands", metavar="COMMAND", required=True)
    command = commands.add_parser(
        "warmup",
        help="compile the kernels now, so that the first training step does not wait for them",
        description="Compiles what the ops and a usual convolutional network need and keeps it in the cache. "
        "A network of other shapes may need a few more kernels, which are compiled when it first runs.",
    )
    command.add_argument("--float64", action="store_true", help="also for float64, which gradient checks use")
    command.set_defaults(run=warmup)
    command = commands.add_parser(
        "devices",
        help="show the processor and the GPUs, and what is missing to use them",
        description="Shows the processor, its measured speed, the GPUs, and what is missing to use them.",
    )
    command.set_defaults(run=devices)
    command = commands.add_parser(
        "tune",
        help='measure the CPU and the GPU, for device="auto" to pick by',
        description="Measures how fast this machine's CPU and first GPU are and what copies between them cost, and keeps it beside "
        'the cache of kernels. Before that device="auto" picks by guesses. Takes about a minute.',
    )
    command.set_defaults(run=tune)
    return main


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command.

    Args:
        arguments: of the command line, without the program's name; None for those of this process.
    """
    asked = parser().parse_args(arguments)
    asked.run(asked)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
