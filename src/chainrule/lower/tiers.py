"""When native code is made: once a program proves hot, beside the caller, or not at all.

The environment variable CHAINRULE_NATIVE chooses: "0" never, "1" (the default) beside the caller in
a thread, "now" in the caller's own thread at the first call.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

__all__ = ["UNCALLED", "Promotion", "settle"]

T = TypeVar("T")

#: Why there is no native code yet where nothing stands in its way.
UNCALLED = "not called often enough yet"


class _Worker:
    """A thread that makes native code, one program after the other, shorter ones first.

    A daemon: an interpreter that ends drops what waits, and waits only until LLVM is at rest.
    """

    def __init__(self) -> None:
        self._tasks: list[tuple[int, int, Callable[[], None]]] = []  # a heap
        self._serial = count()
        self._state = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._ended = False
        self._failed: Exception | None = None

    def submit(self, task: Callable[[], None], size: int) -> bool:
        """Do this later; False where the interpreter is about to end."""
        with self._state:
            if self._ended:
                return False
            heappush(self._tasks, (size, next(self._serial), task))
            self._state.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="chainrule-native")
                self._thread.daemon = True
                try:
                    self._thread.start()
                except RuntimeError:  # no further threads
                    self._ended = True
                    return False
                atexit.register(self.end)
        return True

    def _run(self) -> None:
        while True:
            with self._state:
                self._busy = False
                self._state.notify_all()
                while not self._tasks:
                    self._state.wait()
                _, _, task = heappop(self._tasks)
                self._busy = True
            try:
                task()
            except Exception as error:  # a defect: whoever waits is told
                self._failed = error

    def wait(self, timeout: float | None) -> bool:
        """Until nothing is left to do; False where that takes longer.

        Raises what a task has raised.
        """
        with self._state:
            done = self._state.wait_for(lambda: not (self._tasks or self._busy), timeout)
            error, self._failed = self._failed, None
        if error is not None:
            raise error
        return done

    def end(self) -> None:
        """Drop what waits, and let LLVM come to rest."""
        from .native.engine import end

        with self._state:
            self._ended = True
            self._tasks.clear()
        end()


_worker = _Worker()


def _forget_threads() -> None:
    """In a forked child: the parent's threads are not there."""
    global _worker
    _worker = _Worker()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class Promotion(Generic[T]):
    """The way of one program to native code: ``made`` once it is there, else a ``reason``.

    ``build`` is called after ``calls`` calls of :meth:`tick`; what it raises becomes the reason.
    Where several wait, those of the least ``size`` (steps of the program) are made first.
    """

    __slots__ = ("_build", "_left", "_size", "made", "reason")

    def __init__(self, build: Callable[[], T], calls: int, size: int = 0) -> None:
        self._size = size
        self._build: Callable[[], T] | None = build
        self._left = calls
        self.made: T | None = None
        self.reason = UNCALLED

    def tick(self) -> None:
        """Count a call; the last one that is waited for starts the work."""
        if self._build is None:
            return
        mode = os.environ.get("CHAINRULE_NATIVE", "1")
        self._left -= 1
        if self._left > 0 and mode != "now":
            return
        if mode == "0":
            self._build = None
            self.reason = "CHAINRULE_NATIVE is 0"
        elif mode == "now":
            self.work()
        else:
            self._start()

    def _start(self) -> None:
        self.reason = "being made"
        if not _worker.submit(self.work, self._size):
            self._build = None

    def work(self) -> None:
        """Make the native code here and now."""
        build, self._build = self._build, None
        if build is None:
            return
        from .native.engine import available
        from .native.entry import layout_holds
        from .native.layout import NotWorth, Unsupported

        reason = available()
        if reason is None and not layout_holds():
            reason = "objects of this Python or NumPy lie in memory in another way than assumed"
        if reason is not None:
            self.reason = reason
            return
        try:
            self.made = build()
            self.reason = ""
        except Unsupported as error:
            self.reason = f"no native form yet: {error}"
        except NotWorth as error:
            self.reason = str(error)
        except Exception as error:
            self.reason = f"{type(error).__name__}: {error}"
            raise


def settle(timeout: float | None = None) -> bool:
    """Wait for native code that is being made; False where it takes longer than ``timeout``."""
    return _worker.wait(timeout)
