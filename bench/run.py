"""Runs every case and compares chainrule with its peers, wins and losses alike.

    make bench                                       # or: python bench/run.py
    python bench/run.py mlp elementwise --threads 2  # some cases, with two threads for everyone

Every peer of every case has a process of its own, the same dtype, the same number of threads and
processors, and its compiler on; calls are counted after a warm-up, and numbers that disagree are
reported. Ratios compare the fastest calls, because other work on the machine only ever adds time.
The tables go to the terminal and everything to `out/bench.json`. Another backend of chainrule, or
another peer, is one more entry in the `PEERS` of a case.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console

import harness
import plots
import report

CASES = (
    *("linear_layer", "mlp", "recurrent", "elementwise", "deep_chain", "flops"),
    *("jacobians", "elimination", "sparse"),
    *("field", "first_call", "fully_connected", "growth"),
)
#: What two minutes allow.
QUICK = ("mlp", "elementwise", "first_call", "field")
OUT = harness.HERE.parent / "out" / "bench.json"


def machine(threads: int) -> dict[str, Any]:
    """What the figures depend on."""
    versions = {}
    for package in ("chainrule", "numpy", "scipy", "jax", "jaxlib", "torch"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "processor": processor(),
        "processors": os.cpu_count(),
        "threads": threads,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> int:
    """Run the cases that were asked for; 1 where a bound is broken or numbers disagree."""
    parser = argparse.ArgumentParser(description="Compare chainrule with its peers.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} (all)")
    parser.add_argument("--threads", type=int, default=1, help="for everyone (%(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help=f"{', '.join(QUICK)}, with short measurements"
    )
    parser.add_argument("--out", type=Path, default=OUT, help="where the JSON goes (%(default)s)")
    args = parser.parse_args()
    unknown = set(args.cases) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")

    chosen = args.cases or (QUICK if args.quick else CASES)
    if args.quick:
        os.environ["BENCH_SECONDS"] = "0.2"
    console = Console()
    result: dict[str, Any] = {"machine": machine(args.threads), "cases": {}}
    load = result["machine"]["load"]
    if load is not None and load > 0.5:
        console.print(f"[yellow]The machine is busy (load {load:.1f}): figures are rough.[/]")
    harness.restrict(args.threads)
    failures: list[str] = []
    for name in chosen:
        peers = [*importlib.import_module(name).PEERS]
        with console.status(f"{name} …"):
            rows, missing, different = harness.collect(
                harness.HERE / f"{name}.py", peers, args.threads
            )
        report.show(name, rows, missing, different, console)
        failures += different
        failures += [
            f"{name}, {peer}: {why}" for peer, why in missing.items() if peer == "chainrule"
        ]
        failures += [
            f"{r.case}, {r.quantity}: above its bound"
            for r in rows
            if r.limit is not None and r.value > r.limit
        ]
        result["cases"][name] = {"rows": [described(r, rows) for r in rows], "missing": missing}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")
    for path in (args.out, *plots.draw(result, args.out.parent)):
        console.print(f"wrote {path}", highlight=False)
    for failure in failures:
        console.print(f"[bold red]{failure}[/]", highlight=False)
    return 1 if failures else 0


def described(row: harness.Row, rows: list[harness.Row]) -> dict[str, Any]:
    """A row for the JSON, with the ratio to the peer."""
    ours = next(
        (
            r
            for r in rows
            if r.peer == harness.SUBJECT and (r.case, r.quantity) == (row.case, row.quantity)
        ),
        None,
    )
    return {**asdict(row), "chainrule_to_it": report.ratio(row, ours)}


if __name__ == "__main__":
    sys.exit(main())
