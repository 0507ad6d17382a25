"""Types commands with hostile input into this process, and checks how they end: with a message, in time, without running code.

`FER_ABLATE_FUZZ` is the number of inputs of all tests together, and `FER_ABLATE_FUZZ_SEED` draws others (`nox -s fuzz`).
"""

import faulthandler
import io
import os
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hypothesis import HealthCheck, Phase, given, seed, settings

# What commands import when they need it, and what would count as their time.
import fer_ablate.commands.evaluate
import fer_ablate.commands.train
import fer_ablate.inference.network  # noqa: F401
from fer_ablate.cli.main import main

SECONDS, WALL_SECONDS = 15, 90
"""Longest time of the processor for one command, and longest time by the clock on a machine that has other work as well."""

SENTINEL = "code-was-run"
"""File that appears in the present folder if code of an input is run."""

INPUTS = int(os.environ.get("FER_ABLATE_FUZZ", "100"))
"""Number of inputs of all tests together; a few seconds in the default tests."""

OUTCOMES: dict[str, Counter[str]] = {}
"""Kind of input -> how many of its commands ended with a message, did what was typed, or ended badly."""


class TooSlowError(BaseException):
    """The command did not end in time; no `Exception`, so that no reader takes it for a damaged file."""


@dataclass(frozen=True)
class Answer:
    """How a command ended.

    Args:
        words: what was typed.
        code: exit code; None if an exception ended it.
        out, err: what it printed.
        error: the traceback of that exception; empty if there was none.
        seconds: how long it took.
    """

    words: tuple[str, ...]
    code: int | None
    out: str
    err: str
    error: str
    seconds: float


def type_words(words: tuple[str, ...]) -> Answer:
    """Type the words after `python -m fer_ablate`."""
    return answer_of(words, lambda: main(words))


def answer_of(words: tuple[str, ...], call: Callable[[], int]) -> Answer:
    """Call what these words stand for, which returns an exit code, and see how it ends."""
    out, err, began = io.StringIO(), io.StringIO(), time.monotonic()
    code, error = None, ""
    hydra, known = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    path, argv = list(sys.path), list(sys.argv)
    try:
        with _limit(), warnings.catch_warnings(), redirect_stdout(out), redirect_stderr(err):
            warnings.simplefilter("default")  # a warning is no error for who types a command
            sys.argv = ["fer_ablate"]
            code = call()
    except (Exception, TooSlowError):
        error = traceback.format_exc()
    finally:
        # What a command changes in the process that it normally has for itself.
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = hydra, known
        sys.path[:], sys.argv[:] = path, argv
    return Answer(words, code, out.getvalue(), err.getvalue(), error, time.monotonic() - began)


def type_all(kind: str, share: float, strategy, commands, answer=type_words) -> None:
    """Draw inputs, type the commands that they make, and list every kind of bad end at once.

    Args:
        kind: of the inputs, for the figures.
        share: of all inputs that are drawn.
        strategy: draws an input.
        commands: writes what the input needs into the present folder, and gives the commands as tuples of words.
        answer: types one of them.
    """
    counts, bad = OUTCOMES.setdefault(kind, Counter()), {}

    @seed(int(os.environ.get("FER_ABLATE_FUZZ_SEED", "0")))
    @settings(
        max_examples=max(round(INPUTS * share), 5),
        phases=[Phase.generate],  # all kinds of bad ends are listed below, each with its shortest command
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(value):
        for words in commands(value):
            ended = answer(words)
            problem = problem_of(ended)
            counts["bad" if problem else "message" if ended.code else "done"] += 1
            if problem:
                lines = [line.strip() for line in problem.strip().splitlines()]
                place = next((line for line in reversed(lines) if "fer_ablate/" in line), "")
                shown = f"{' '.join(map(repr, words))[:2000]}\n{value!r:.2000}\n{problem[-3000:]}"
                bad[lines[-1][:100], place] = min(bad.get((lines[-1][:100], place), shown), shown, key=len)

    each()
    assert not bad, f"{len(bad)} kinds of bad ends\n\n" + "\n\n".join(bad.values())


def problem_of(answer: Answer) -> str:
    """What is wrong with the end of a command; empty if nothing is."""
    if Path(SENTINEL).exists():
        os.remove(SENTINEL)
        return "code of the input was run"
    if answer.error:
        return answer.error
    printed = answer.out + answer.err
    if "Traceback" in printed:
        return f"a traceback was printed:\n{printed}"
    if answer.code not in (0, 1, 2):
        return f"exit code {answer.code}"
    if answer.code and len(answer.err.strip()) < 10:
        return f"no message, exit code {answer.code}:\n{printed}"
    return ""


@contextmanager
def _limit():
    def too_slow(*_):
        raise TooSlowError(f"more than {SECONDS} s of work or {WALL_SECONDS} s")

    limits = ((signal.SIGPROF, signal.ITIMER_PROF, SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, WALL_SECONDS))
    outer = [signal.signal(number, too_slow) for number, _, _ in limits]
    for _, timer, seconds in limits:
        signal.setitimer(timer, seconds)
    # Code of a library that never comes back to Python cannot be interrupted: the process ends, and says where it was.
    faulthandler.dump_traceback_later(WALL_SECONDS * 2, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(limits, outer, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
        faulthandler.cancel_dump_traceback_later()
