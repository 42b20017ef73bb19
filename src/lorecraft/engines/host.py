"""The memory of this machine and of this process, as its operating system tells it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
"""A container's limit and what of it is used, in both versions of control groups."""


def available() -> int | None:
    """Bytes that this process could hold without swapping: what it has, and what is free; None
    where that is not known."""
    free = [_left(Path(limit), Path(used)) for limit, used in _CONTAINER]
    try:
        fields = Path("/proc/meminfo").read_text("ascii").split()
        free.append(1024 * int(fields[fields.index("MemAvailable:") + 1]))
    except (OSError, ValueError):
        free.append(_physical())
    known = [number for number in free if number is not None]
    return resident() + min(known) if known else None


def resident() -> int:
    """Bytes of memory that this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return peak_resident()


def peak_resident() -> int:
    """The most that this process held so far, in bytes; 0 where it is not known."""
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _left(limit: Path, used: Path) -> int | None:
    try:
        return max(0, int(limit.read_text("ascii")) - int(used.read_text("ascii")))
    except (OSError, ValueError):  # no limit is written as the word max
        return None


def _physical() -> int | None:
    """All of the memory: systems without /proc do not say what of it is free."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
