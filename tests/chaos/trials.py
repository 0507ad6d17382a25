"""A study that is killed several times and then left to end, compared with one that nobody touched."""

import random
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from .commands import VICTIMS, Command, import_all, start, start_forked
from .contents import Contents, contents, differences, exported, left_over
from .moments import AIMS, Place, await_moment, phase

LAUNCHERS = {
    "machine": [],
    "joblib": ["hydra/launcher=joblib"],
    "ray": ["hydra/launcher=ray"],
    "forked": ["hydra/launcher=basic"],
}
"""Name -> words that choose it. `forked` does all runs in a copy of the process of these tests, which has imported everything."""

ENDING_SECONDS = 90.0
"""Time for processes to notice that the one they work for is gone."""

RESULTS_SECONDS = 12.0
"""Longest time from the start of `results` to its kill."""


@dataclass(frozen=True)
class Kill:
    """A kill that met a running command.

    Args:
        phase: what the files on disk showed at that time.
        victim: what was killed.
        aim: what was waited for.
        seconds: since the start of the command.
    """

    phase: str
    victim: str
    aim: str
    seconds: float


@dataclass
class Trial:
    """What came of a study.

    Args:
        launcher: its launcher.
        seed: that everything was drawn from.
        kills: in their order.
        missed: aims that a command did not come to before it ended.
        problems: differences from the unbroken study, and whatever else went wrong; empty if all is well.
    """

    launcher: str
    seed: int
    kills: list[Kill] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def unbroken(place: Place, launcher: str) -> Contents:
    """What a study leaves that nobody touches."""
    code = type_study(place, launcher, "unbroken")
    assert code == 0, f"the unbroken study ended with {code}: {place.output}"
    assert not left_over(place), left_over(place)
    return contents(place)


def killed_study(root: Path, launcher: str, seed: int, kills: int, expected: Contents, aims: Sequence[str] = ()) -> Trial:
    """Kill a study at drawn moments, start it again each time, and compare what it leaves in the end.

    Args:
        root: folder for it; deleted if all was well.
        launcher: of `LAUNCHERS`.
        seed: that moments, victims and pauses are drawn from.
        kills: how often it is killed.
        expected: what an unbroken one leaves.
        aims: of `AIMS`, one for each kill; drawn if empty.
    """
    rng = random.Random(f"{launcher} {seed}")
    place, trial = Place(root).make(), Trial(launcher, seed)
    drawn = list(aims) or sorted((rng.choice(list(AIMS)) for _ in range(kills)), key=list(AIMS).index)
    for number, name in enumerate(drawn):
        _one_kill(place, trial, name, rng, f"{root.name}-{number}")
    code = type_study(place, launcher, f"{root.name}-end")
    if code != 0:
        trial.problems.append(f"the last command ended with {code}")
    else:
        trial.problems += differences(expected, contents(place))
        trial.problems += [f"left over: {name}" for name in left_over(place)]
    if not trial.problems:
        shutil.rmtree(root)
    return trial


def killed_results(root: Path, launcher: str, seed: int, kills: int, finished: Place, expected: Contents) -> Trial:
    """Kill the command `results` of a finished study at drawn moments, and compare what it writes in the end."""
    rng = random.Random(f"results {seed}")
    place, trial = Place(root).make(), Trial(launcher, seed)
    words = ["results", *finished.words, f"folder={place.docs}"]
    for number in range(kills):
        command = start(words, place.output, f"{root.name}-{number}")
        writing = rng.random() < 0.5
        delay = 0.0 if writing else rng.uniform(0, RESULTS_SECONDS)
        since = time.monotonic()
        if await_moment(partial(_is_writing, place) if writing else _always, delay, command.has_ended):
            command.kill("driver", (), 0)
            trial.kills.append(Kill("results", "driver", "results", time.monotonic() - since))
        else:
            trial.missed.append("results")
        command.wait()
    code = start(words, place.output, f"{root.name}-end").wait()
    problems = [f"results ended with {code}"] if code else differences(expected, exported(place))
    trial.problems += [*problems, *(f"left over: {name}" for name in left_over(place))]
    if not trial.problems:
        shutil.rmtree(root)
    return trial


def _is_writing(place: Place) -> bool:
    return any(place.docs.rglob(".*.partial"))


def _always() -> bool:
    return True


def _one_kill(place: Place, trial: Trial, name: str, rng: random.Random, mark: str) -> None:
    # In a copy of this process nobody else trains.
    aim, victim = AIMS[name], "driver" if trial.launcher == "forked" else rng.choice(VICTIMS)
    if name == "image cache" and not place.folders:
        shutil.rmtree(place.cache, ignore_errors=True)
    delay, choice, waits = rng.uniform(0, aim.seconds), rng.random(), rng.random() < 0.5
    since = time.time()
    reached = aim.watch(place, since, rng)
    command = _start(place, trial.launcher, mark)
    killed = ""
    if await_moment(reached, delay, command.has_ended):
        shown = phase(place, since)
        killed = command.kill(victim, place.owners(), choice)
    if killed:
        trial.kills.append(Kill(shown, killed, name, round(time.time() - since, 1)))
    else:
        trial.missed.append(name)
    if not killed or killed == "worker":
        command.wait()
    command.process.wait(timeout=60 if killed else None)
    # Half of the time the command is typed again at once, while the processes of the last one are still there.
    if waits and (left := command.wait_for_all(ENDING_SECONDS)):
        trial.problems.append(f"outlived the kill of the {killed or 'nothing'} ({name}): {list(left.values())[:3]}")
        command.end()


def _start(place: Place, launcher: str, mark: str, environment: Mapping[str, str] | None = None) -> Command:
    words = ["-m", *place.words, *LAUNCHERS[launcher]]
    if launcher == "forked":
        import_all()
        return start_forked(words, place.output, mark)
    return start(words, place.output, mark, environment=environment)


def type_study(place: Place, launcher: str, mark: str, environment: Mapping[str, str] | None = None) -> int:
    """Type a study and wait for its end; returns its exit status."""
    command = _start(place, launcher, mark, environment)
    try:
        code = command.wait()
        command.wait_for_all(ENDING_SECONDS)
        return code
    finally:
        command.end()
