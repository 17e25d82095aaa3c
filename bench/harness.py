"""What all cases share: the clock, the rows of results, and one process for every peer.

A case is a module with `PEERS`, from a peer's name to a function that yields `Row`s and, through
`Row.check`, numbers that every peer must agree on. `main` makes it a program:

    python bench/mlp.py              # all peers, each in a process of its own, and a table
    python bench/mlp.py --peer jax   # this process is the peer; its rows go to stdout as JSON

This module imports nothing beyond the standard library at the top: what a peer's process loads, and
with how many threads, is the peer's business alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent

#: The contender whose times the others' are compared with.
SUBJECT = "chainrule"

#: Seconds spent on each measurement, in every process; at least `FEWEST` calls in any case.
SECONDS = float(os.environ.get("BENCH_SECONDS", "1"))
FEWEST = 5

#: The package each peer needs.
PACKAGES = {"jax": "jax", "torch": "torch", "asdex": "asdex", "sparsejac": "sparsejac"}


@dataclass
class Row:
    """One figure: of which case, what it is, in which unit; times also have their median."""

    case: str
    quantity: str
    value: float
    unit: str = "s"
    median: float | None = None
    calls: int = 1
    #: Numbers that must agree between peers for the figure to mean anything.
    check: list[float] = field(default_factory=list)
    peer: str = SUBJECT
    #: A bound that the value must keep; None: only a figure.
    limit: float | None = None
    #: What the figure was made of.
    details: dict[str, float] = field(default_factory=dict)


Peer = Callable[[], Iterator[Row]]


def clock(run: Callable[[], object], seconds: float = SECONDS, warmup: int = 3) -> list[float]:
    """Seconds of every call within the time given, after a warm-up."""
    for _ in range(warmup):
        run()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < FEWEST or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def timed(
    case: str, quantity: str, run: Callable[[], object], check: Sequence[float] = (), **more: Any
) -> Row:
    """A row of what `run` takes: the fastest call, and the median."""
    times = clock(run, **more)
    return Row(case, quantity, min(times), "s", median(times), len(times), [*map(float, check)])


def environment(threads: int) -> dict[str, str]:
    """The environment of a peer: as many threads for everyone, CPU only."""
    count = str(threads)
    names = "OMP MKL OPENBLAS BLIS VECLIB_MAXIMUM NUMEXPR TORCH"
    return {
        **os.environ,
        **{f"{name}_NUM_THREADS": count for name in names.split()},
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONHASHSEED": "0",
    }


def restrict(threads: int) -> None:
    """This process and its children stay on so many processors (where the system can)."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:threads])


def measure(case: Path, peer: str, threads: int, timeout: float = 900) -> tuple[list[Row], str]:
    """The rows of one peer, from its own process; or none, and why."""
    package = PACKAGES.get(peer.partition(" ")[0])
    if package is not None and find_spec(package) is None:
        return [], f"{package} is not installed"
    command = [sys.executable, str(case), "--peer", peer, "--threads", str(threads)]
    try:
        done = subprocess.run(
            command,
            env=environment(threads),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [], f"took longer than {timeout:.0f} s"
    if done.returncode:
        return [], (done.stderr.strip().splitlines() or ["no message"])[-1]
    return [Row(**row) for row in json.loads(done.stdout.splitlines()[-1])], ""


def disagreements(rows: Sequence[Row], rtol: float = 2e-3) -> list[str]:
    """Peers whose numbers are not those of the subject."""
    found = []
    known = {(r.case, r.quantity): r for r in rows if r.peer == SUBJECT and r.check}
    for row in rows:
        ours = known.get((row.case, row.quantity))
        if ours is None or not row.check:
            continue
        for a, b in zip(ours.check, row.check, strict=True):
            if not abs(a - b) <= rtol * max(abs(a), abs(b), 1e-6):
                found.append(f"{row.case}, {row.quantity}: {row.peer} has {b}, {SUBJECT} {a}")
    return found


def collect(
    case: Path, peers: Sequence[str], threads: int
) -> tuple[list[Row], dict[str, str], list[str]]:
    """All peers of one case: rows, why some are missing, and where they disagree."""
    rows: list[Row] = []
    missing: dict[str, str] = {}
    for peer in peers:
        found, why = measure(case, peer, threads)
        rows.extend(found)
        if why:
            missing[peer] = why
    return rows, missing, disagreements(rows)


def main(peers: Mapping[str, Peer], case: str) -> None:
    """Run a case by itself: all peers, or (with `--peer`) this one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", choices=[*peers])
    parser.add_argument("--threads", type=int, default=1, help="for everyone (%(default)s)")
    args = parser.parse_args()
    if args.peer is not None:
        import warnings

        warnings.simplefilter("ignore")
        rows = []
        for row in peers[args.peer]():
            if row.peer == SUBJECT:
                row.peer = args.peer
            rows.append(asdict(row))
        print(json.dumps(rows))
        return
    from report import show

    restrict(args.threads)
    show(Path(case).stem, *collect(Path(case), [*peers], args.threads))
