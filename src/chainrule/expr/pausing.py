"""Making many nodes at once: without searching all of them for cycles again and again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collection_paused"]


@contextmanager
def collection_paused() -> Iterator[None]:
    """Python's cycle collector rests inside.

    Nodes, steps and emitted code are no cycles and many of them are kept, so that each of its
    passes walks over all of them and frees nothing: a fifth of the time that a long program takes.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
