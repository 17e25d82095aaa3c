"""When native code is made: once a program proves hot, beside the caller, or not at all.

The environment variable CHAINRULE_NATIVE chooses: "0" never, "1" (the default) beside the caller in
a thread, "now" in the caller's own thread at the first call.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

__all__ = ["Promotion", "settle"]

T = TypeVar("T")

_executor: ThreadPoolExecutor | None = None
_lock = threading.Lock()
_pending: set[Any] = set()


def _forget_threads() -> None:
    """In a forked child: the parent's threads are not there."""
    global _executor, _lock
    _executor = None
    _lock = threading.Lock()
    _pending.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class Promotion(Generic[T]):
    """The way of one program to native code: ``made`` once it is there, else a ``reason``.

    ``build`` is called after ``calls`` calls of :meth:`tick`; what it raises becomes the reason.
    """

    __slots__ = ("_build", "_left", "made", "reason")

    def __init__(self, build: Callable[[], T], calls: int) -> None:
        self._build: Callable[[], T] | None = build
        self._left = calls
        self.made: T | None = None
        self.reason = "not called often enough yet"

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
        global _executor
        self.reason = "being made"
        with _lock:
            if _executor is None:
                _executor = ThreadPoolExecutor(1, thread_name_prefix="chainrule-native")
            try:
                future = _executor.submit(self.work)
            except RuntimeError:  # the interpreter is about to end
                self._build = None
                return
            _pending.add(future)
        future.add_done_callback(_pending.discard)

    def work(self) -> None:
        """Make the native code here and now."""
        build, self._build = self._build, None
        if build is None:
            return
        from .native.engine import available
        from .native.entry import layout_holds
        from .native.layout import Unsupported

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


def settle() -> None:
    """Wait for native code that is being made."""
    for future in list(_pending):
        future.result()
