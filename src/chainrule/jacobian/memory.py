"""Refusing what would not fit before it is allocated."""

from __future__ import annotations

import os

from ..errors import TooLargeError

__all__ = ["available_bytes", "check_size", "readable"]

# below this the memory left is not asked for: it takes longer than to fill the array
_SMALL = 2**20
# the part of the memory left that is not given to one array: it has to be computed from
# something, and the rest of the machine goes on as well
_KEPT = 1 / 5


def available_bytes() -> int:
    """Memory that this process can still take, in bytes: of the machine, and of its group."""
    free = _machine()
    group = _number("/sys/fs/cgroup/memory.max")
    if group is not None:
        used = _number("/sys/fs/cgroup/memory.current") or 0
        # page cache is given back when memory is asked for
        cached = _statistic("/sys/fs/cgroup/memory.stat", "inactive_file") or 0
        free = min(free, max(group - used + cached, 0))
    return free


def _machine() -> int:
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (ValueError, OSError, AttributeError):
        return 8 * 2**30


def _number(path: str) -> int | None:
    try:
        with open(path) as text:
            return int(text.read())
    except (OSError, ValueError):  # no such group, or "max"
        return None


def _statistic(path: str, name: str) -> int | None:
    try:
        with open(path) as lines:
            for line in lines:
                if line.startswith(name + " "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None


def readable(size: int) -> str:
    """A size in binary units: ``16 TiB``, ``256 GiB``, ``512 B``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024 or unit == "PiB":
            return f"{value:.4g} {unit}"
        value /= 1024
    raise AssertionError


def check_size(size: int, what: str, max_bytes: int | None, remedy: str) -> None:
    """Raise TooLargeError if ``size`` bytes exceed the limit, or what may be had of memory."""
    if max_bytes is None and size <= _SMALL:
        return
    left = available_bytes() if max_bytes is None else 0
    limit = int(left * (1 - _KEPT)) if max_bytes is None else max_bytes
    if size > limit:
        bound = (
            f"the memory left ({readable(limit)} of {readable(left)}, the rest is kept free)"
            if max_bytes is None
            else f"max_bytes ({readable(limit)})"
        )
        text = readable(size)
        gib = "" if text.endswith("GiB") else f" ({size / 2**30:,.4g} GiB)"
        raise TooLargeError(f"{what} would take {text}{gib}, more than {bound}; instead: {remedy}")
