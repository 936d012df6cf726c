"""How many CPUs this process may use: its affinity, and the quota of its control group (container)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


def allowed_cpus() -> int:
    """CPUs that this process may use, at least 1: its affinity, and its quota rounded up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def cpu_quota(groups: Path = GROUPS, own_group: Path = OWN_GROUP) -> float | None:
    """CPUs that the control group and those above it allow (cgroup version 2 and 1), None for no limit."""
    return min(_quotas(groups, own_group), default=None)


def _quotas(groups: Path, own_group: Path) -> Iterator[float]:
    for folder in _folders(groups, own_group):
        try:
            if (folder / "cpu.max").exists():
                limit, period = (folder / "cpu.max").read_text().split()
            else:
                limit = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            if limit != "max" and int(limit) > 0:
                yield int(limit) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue  # no limit at this level, or none that we understand


def _folders(groups: Path, own_group: Path) -> Iterator[Path]:
    """Where limits may stand. A container often sees its own group as the root, whatever its name says."""
    yield from (groups, groups / "cpu")
    try:
        lines = own_group.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = groups / "cpu" if controllers else groups
        path = PurePosixPath(group.lstrip("/"))
        if ".." not in path.parts:
            yield from (root / part for part in (path, *path.parents))
