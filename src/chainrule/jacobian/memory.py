"""Refusing what would not fit before it is allocated."""

from __future__ import annotations

import os

from ..errors import TooLargeError

__all__ = ["available_bytes", "check_size", "readable"]


def available_bytes() -> int:
    """Memory the machine has left, in bytes."""
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


def readable(size: int) -> str:
    """A size in binary units: ``16 TiB``, ``256 GiB``, ``512 B``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024 or unit == "PiB":
            return f"{value:.4g} {unit}"
        value /= 1024
    raise AssertionError


def check_size(size: int, what: str, max_bytes: int | None, remedy: str) -> None:
    """Raise TooLargeError if ``size`` bytes exceed the limit or the memory left."""
    limit = available_bytes() if max_bytes is None else max_bytes
    if size > limit:
        gib = f" ({size / 2**30:,.4g} GiB)" if size >= 2**40 else ""
        raise TooLargeError(
            f"{what} would take {readable(size)}{gib}, more than "
            f"{'the memory left' if max_bytes is None else 'max_bytes'} ({readable(limit)}); "
            f"instead: {remedy}"
        )
