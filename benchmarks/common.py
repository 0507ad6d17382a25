"""Shared by the benchmarks: where they were measured, a busy neighbour, and tables."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

FER_ABLATE = (sys.executable, "-m", "fer_ablate")

SMALL = ("model=pisa", "model.width=0.125", "trainer=cpu", "tracking=none", "data.synthetic.val=70", "data.synthetic.test=70")
"""Words for a small network on the embedded faces."""


def where(repeats: int) -> str:
    """The machine, its load and the number of repetitions, as a line of text."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return f"{(names or [platform.machine()])[0]}, {cores} cores, load {load} before; medians of {repeats}"


def seconds_of(command: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """Wall time of a whole process.

    Raises:
        SystemExit: it failed; its messages are printed.
    """
    began = perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})}, check=False)
    taken = perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return taken


@contextmanager
def busy_neighbour() -> Iterator[None]:
    """Another process that wants a whole core all the time."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def middle(values: Sequence[float]) -> float:
    """The median."""
    return median(values)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
