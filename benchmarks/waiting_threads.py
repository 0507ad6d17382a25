"""Images per second of training where threads that wait for each other spin or sleep.

Each variant is measured alone, with a process that keeps one core busy, and for two trainings at once (both together). A CPU
build of torch for Linux comes with libgomp, which reads OMP_WAIT_POLICY and GOMP_SPINCOUNT; those of Intel and LLVM read
KMP_BLOCKTIME.
Every training is a process that starts once and then measures when it gets a line, so that no time goes into imports.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext

from common import busy_neighbour, middle, table, where

POLICIES = {
    "default": {},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    "GOMP_SPINCOUNT=1000": {"GOMP_SPINCOUNT": "1000"},
    "GOMP_SPINCOUNT=30000": {"GOMP_SPINCOUNT": "30000"},
    "KMP_BLOCKTIME=0": {"KMP_BLOCKTIME": "0"},
}
"""Not OMP_WAIT_POLICY=active, whose threads would also spin while their training waits for its turn."""

TRAINING = """
import sys, time
import torch
from fer_ablate.config.compose import composed, composer, to_config
from fer_ablate.models.build import build_network
threads, seconds, words = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
torch.set_num_threads(threads)
with composer():
    config = to_config(composed(words))
network = build_network(config.model, (48, 48), 7).to(memory_format=torch.channels_last)
optimizer = torch.optim.Adam(network.parameters())
faces = torch.rand(64, 1, 48, 48).to(memory_format=torch.channels_last)
labels = torch.randint(0, 7, (64,))
def step():
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(network(faces), labels).backward()
    optimizer.step()
for _ in range(2):
    step()
print("ready", flush=True)
for _ in sys.stdin:
    began, images = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        images += 64
    print(images / (time.perf_counter() - began), flush=True)
"""
"""A bare training loop that measures its speed whenever it gets a line, so that two of them begin together."""


@contextmanager
def trainings(
    policy: dict[str, str], threads: int, seconds: float, words: Sequence[str]
) -> Iterator[list[subprocess.Popen[str]]]:
    """Two trainings of a variant, which are ready and wait for a line."""
    command = [sys.executable, "-c", TRAINING, str(threads), str(seconds), *words]
    # Not OMP_NUM_THREADS: the number of threads is set as the program itself sets it.
    environment = {**{name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}, **policy}
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)
    ]
    try:
        for process in running:
            if answer(process) != "ready":
                raise SystemExit("The training could not begin; see its message above.")
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def answer(process: subprocess.Popen[str]) -> str:
    """The next line that a training prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def rate(running: Sequence[subprocess.Popen[str]]) -> float:
    """Images per second of trainings at once, together."""
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return sum(float(answer(process)) for process in running)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.5, help="of each measurement")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--policies", nargs="+", default=list(POLICIES)[:2], choices=list(POLICIES), metavar="POLICY")
    parser.add_argument("words", nargs="*", default=["model=pisa"], help="the network")
    given = parser.parse_args()
    print(where(given.repeats), flush=True)
    situations = {"alone": (nullcontext, 1), "one busy process": (busy_neighbour, 1), "two trainings": (nullcontext, 2)}
    variants = [(name, threads) for threads in given.threads for name in given.policies]
    speeds: dict[tuple[str, int, str], list[float]] = {}
    with ExitStack() as stack:
        ready = {
            (name, threads): stack.enter_context(trainings(POLICIES[name], threads, given.seconds, given.words))
            for name, threads in variants
        }
        for _ in range(given.repeats):
            for situation, (neighbour, count) in situations.items():
                with neighbour():
                    for variant, running in ready.items():
                        speeds.setdefault((*variant, situation), []).append(rate(running[:count]))
    rows = []
    for name, threads in variants:
        cells = []
        for situation in situations:
            speed, usual = (middle(speeds[(*of, situation)]) for of in ((name, threads), variants[-len(given.policies)]))
            cells.append(f"{speed:.0f} ({speed / usual:.2f})")
        rows.append([name, str(threads), *cells])
    print(table(["policy", "threads", *situations], rows))
    print(f"images/s; in brackets divided by {given.policies[0]} with {given.threads[-1]} threads")


if __name__ == "__main__":
    main()
