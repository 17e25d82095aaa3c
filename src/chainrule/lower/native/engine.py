"""Compiling LLVM's text at run time, and what the machine offers.

llvmlite is imported on first use.  Compiled objects are kept on disk, keyed by text, processor
and versions; they hold no addresses.  A file that cannot be read back whole is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from .code import Target
from .layout import Unsupported

__all__ = ["available", "clear_disk", "compiled", "end", "machine"]

#: Characters of text from which LLVM generates code fast instead of fast code.
LONG = 400_000

_MAGIC = b"chainrule object 1\n"
_lock = threading.RLock()
_ending = threading.Event()


def available() -> str | None:
    """None where native code can be made; else the reason why not."""
    if importlib.util.find_spec("llvmlite") is None:
        return "llvmlite is not installed (pip install 'chainrule[native]')"
    if sys.implementation.name != "cpython":
        return f"native code needs CPython, not {sys.implementation.name}"
    if platform.machine().lower() not in ("x86_64", "amd64", "aarch64", "arm64"):
        return f"native code is not made for {platform.machine()}"
    if sys.byteorder != "little" or sys.maxsize < 2**32:
        return "native code needs a little-endian machine of 64 bits"
    return None


class _Machine:
    """The host: LLVM's target machine, its passes, and a key that names them."""

    def __init__(self) -> None:
        import llvmlite
        import llvmlite.binding as llvm

        with contextlib.suppress(RuntimeError):  # older releases want it, newer ones refuse it
            llvm.initialize()
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.initialize_native_asmparser()
        self.llvm = llvm
        features = llvm.get_host_cpu_features()
        wide = bool(features.get("avx512f"))
        fused = bool(features.get("fma")) or platform.machine().lower() in ("aarch64", "arm64")
        narrow = 32 if features.get("avx2") else 16
        self.target = Target(register=64 if wide else narrow, fma=fused)
        self.prefer = 512 if wide else 8 * narrow
        cpu, flags = llvm.get_host_cpu_name(), features.flatten()
        triple = llvm.get_process_triple()
        self.cpu, self.features = cpu, flags
        self.triple = triple
        self.machine = self.new_machine()
        self._machines = {2: self.machine}
        self.data_layout = str(self.machine.target_data)
        self.key = f"{llvmlite.__version__} {llvm.llvm_version_info} {triple} {cpu} {flags}"

    def new_machine(self, level: int = 2) -> Any:
        """A target machine; every engine takes one for itself."""
        return self.llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.features, opt=level, jit=True
        )

    def machines(self, level: int) -> Any:
        """The target machine that generates code at a level of effort."""
        if level not in self._machines:
            self._machines[level] = self.new_machine(level)
        return self._machines[level]

    def optimize(self, module: Any) -> None:
        options = self.llvm.create_pipeline_tuning_options()
        builder = self.llvm.create_pass_builder(self.machine, options)
        passes = self.llvm.create_new_function_pass_manager()
        passes.add_sroa_pass()
        passes.add_instruction_combine_pass()
        passes.add_dead_code_elimination_pass()
        for function in module.functions:
            if not function.is_declaration:
                passes.run(function, builder)


@lru_cache(maxsize=1)
def machine() -> _Machine:
    """The host machine; raises ImportError without llvmlite."""
    with _lock:
        return _Machine()


class Compiled:
    """Machine code in memory, kept alive with what it needs."""

    def __init__(self, engine: Any, names: tuple[str, ...]) -> None:
        self._engine = engine
        self.addresses = {name: engine.get_function_address(name) for name in names}


def compiled(units: Sequence[str], names: tuple[str, ...]) -> Compiled:
    """The functions ``names`` of modules of LLVM's text (without their target lines).

    Raises Unsupported where the interpreter ends meanwhile.
    """
    host = machine()
    llvm = host.llvm
    # a short time for a long program is worth more than the last tenths of its speed
    level = 2 if sum(map(len, units)) <= LONG else 0
    with _lock:
        empty = f'target triple = "{host.triple}"\n'
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(empty), host.new_machine())
    for text in units:
        digest = hashlib.sha256(f"{host.key} {level}\n{text}".encode()).hexdigest()
        with _lock:
            if _ending.is_set():
                raise Unsupported("the interpreter ends")
            found = _read(digest)
            if found is None:
                found = _object_of(text, level)
                _write(digest, found)
            engine.add_object_file(llvm.ObjectFileRef.from_data(found))
    with _lock:
        engine.finalize_object()
        return Compiled(engine, names)


def end() -> None:
    """Compile nothing more; waits until LLVM is at rest (for a second or so at most)."""
    _ending.set()
    if _lock.acquire(timeout=5):
        _lock.release()


def _object_of(text: str, level: int) -> bytes:
    host = machine()
    header = f'target datalayout = "{host.data_layout}"\ntarget triple = "{host.triple}"\n'
    module = host.llvm.parse_assembly(header + text)
    host.optimize(module)
    return bytes(host.machines(level).emit_object(module))


# -- objects on disk ----------------------------------------------------------------------------
def folder() -> Path | None:
    """Where objects are kept; None where CHAINRULE_CACHE is empty."""
    given = os.environ.get("CHAINRULE_CACHE")
    if given is not None:
        return Path(given).expanduser() if given else None
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "chainrule" / "objects"


def _read(digest: str) -> bytes | None:
    place = folder()
    if place is None:
        return None
    try:
        data = (place / f"{digest}.o").read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + 32
    body = data[head:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : head]:
        return None
    return body


def _write(digest: str, body: bytes) -> None:
    """Whole or not at all: a file beside it is renamed over it."""
    place = folder()
    if place is None:
        return
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(body).digest() + body)
        os.replace(name, place / f"{digest}.o")
    except OSError:
        return  # a read-only or full disk: the object is made anew next time


def clear_disk() -> None:
    """Remove all objects on disk."""
    place = folder()
    if place is not None and place.is_dir():
        for file in place.glob("*.o"):
            with contextlib.suppress(OSError):
                file.unlink()
