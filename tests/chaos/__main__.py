"""`python -m tests.chaos`: kills studies at seeded random moments and prints the figures by phase (`nox -s chaos`)."""

import importlib.util
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .commands import start
from .contents import contents, exported
from .hardship import FAKETIME, clock_set_back, full_disk, two_users, used_bytes
from .moments import Place
from .trials import Trial, killed_results, killed_study, unbroken

KILLS_EACH = 4
"""Kills of one study; more cost less, but their effects are harder to tell apart."""


def main(words: Sequence[str]) -> int:
    """Kill studies.

    Args:
        words: `moments=100 seed=0 each=4 launchers=machine,joblib,ray hardships=0 folder=... aims=training,page unbroken=...`;
            the last one is a folder of an earlier call with the study that nobody touched.

    Returns:
        1 if a study ended otherwise than an unbroken one.
    """
    options = dict(word.split("=", 1) for word in words)
    moments, seed = int(options.get("moments", "100")), int(options.get("seed", "0"))
    each = int(options.get("each", KILLS_EACH))
    has_ray = importlib.util.find_spec("ray") is not None
    launchers = options.get("launchers", "machine,joblib,ray" if has_ray else "machine,joblib").split(",")
    aims = [name for name in options.get("aims", "").split(",") if name]
    root = Path(options["folder"]) if "folder" in options else Path(tempfile.mkdtemp(prefix="chaos-"))
    root.mkdir(parents=True, exist_ok=True)
    begun, whole = time.monotonic(), Place(Path(options.get("unbroken", root / "unbroken")))
    if "unbroken" not in options:
        unbroken(whole.make(), launchers[0])
        print(f"unbroken study: {time.monotonic() - begun:.0f} s", flush=True)
    expected = contents(whole)
    trials: list[Trial] = []
    while sum(len(trial.kills) for trial in trials) < moments and len(trials) < moments:
        number = len(trials)
        launcher, left = launchers[number % len(launchers)], moments - sum(len(trial.kills) for trial in trials)
        folder = root / f"{launcher}-{seed}-{number}"
        if not aims and number % 8 == 7:
            trial = _results(folder, seed + number, min(each, left), whole)
        else:
            kills = min(each, left)
            trial = killed_study(folder, launcher, seed + number, kills, expected, aims[:kills])
        trials.append(trial)
        print(_line(trial), flush=True)
        with (root / "trials.jsonl").open("a") as stream:
            stream.write(json.dumps(asdict(trial)) + "\n")
    print(figures(trials), flush=True)
    problems = [problem for trial in trials for problem in trial.problems]
    if hardships := int(options.get("hardships", "0")):
        problems += _hardships(root, launchers, seed, hardships, whole)
    return int(bool(problems))


def _hardships(root: Path, launchers: Sequence[str], seed: int, count: int, whole: Place) -> list[str]:
    """Full disks, clocks that are set back, and two users on one cache; returns what went wrong."""
    expected, needed = contents(whole), used_bytes(whole.runs) + used_bytes(whole.cache)
    trials: list[tuple[str, Trial]] = []
    for number in range(count):
        launcher, name = launchers[number % len(launchers)], f"{seed}-{number}"
        trials.append(("full disk", full_disk(root / f"disk-{name}", launcher, seed + number, needed, expected)))
        print(f"full disk: {_line(trials[-1][1])}", flush=True)
        if FAKETIME is not None:
            # Programs get another time when they start, so a copy of this process does not.
            real = launcher if launcher != "forked" else "machine"
            trials.append(("clock set back", clock_set_back(root / f"clock-{name}", real, seed + number, expected)))
            print(f"clock set back: {_line(trials[-1][1])}", flush=True)
    met = two_users(root / "users", expected)
    print(f"two users on one empty cache: {met or 'equal'}", flush=True)
    return [problem for _, trial in trials for problem in trial.problems] + met


def _results(folder: Path, seed: int, kills: int, finished: Place) -> Trial:
    whole = Place(folder.with_name(f"{folder.name}-whole")).make()
    code = start(["results", *finished.words, f"folder={whole.docs}"], whole.output, whole.root.name).wait()
    assert code == 0, whole.output
    return killed_results(folder, "results", seed, kills, finished, exported(whole))


def _line(trial: Trial) -> str:
    kills = ", ".join(f"{kill.victim} in {kill.phase} after {kill.seconds:.1f} s" for kill in trial.kills)
    missed = f"; not met: {', '.join(trial.missed)}" if trial.missed else ""
    outcome = "equal" if not trial.problems else "".join(f"\n    {problem}" for problem in trial.problems)
    return f"{trial.launcher}, seed {trial.seed}: {kills or 'no kill'}{missed}: {outcome}"


def figures(trials: Sequence[Trial]) -> str:
    """Kills by phase, by launcher and by victim, and how the studies ended."""
    kills = [(trial, kill) for trial in trials for kill in trial.kills]
    lines = [
        f"{len(kills)} kills of {len(trials)} studies, {sum(not trial.problems for trial in trials)} equal to an unbroken one"
    ]
    for title, names in {
        "phase": [kill.phase for _, kill in kills],
        "launcher": [trial.launcher for trial, _ in kills],
        "victim": [kill.victim for _, kill in kills],
    }.items():
        lines.append(f"by {title}: " + ", ".join(f"{name} {count}" for name, count in Counter(names).most_common()))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
