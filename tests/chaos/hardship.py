"""Other misfortunes of a study than kills: a full disk, a clock that is set back, two users on one cache."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .commands import start
from .contents import Contents, contents, differences, left_over
from .moments import AIMS, Place, await_moment
from .trials import LAUNCHERS, Kill, Trial, type_study

WHOLE_DISK = 64 * 2**20
"""Bytes in which a whole study has room."""

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
"""Debian's library that gives programs another time."""

NOBODY = 65534
"""Number of the user who owns nothing."""


@contextmanager
def disk(folder: Path, size: int) -> Iterator[None]:
    """A file system in memory with room for `size` bytes; needs the rights of root."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "chaos", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full_disk(root: Path, launcher: str, seed: int, needed: int, expected: Contents) -> Trial:
    """A study whose disk is full at a drawn moment, and that is typed again once there is room.

    Args:
        root: folder for it.
        launcher: of `LAUNCHERS`.
        seed: that the size of the disk is drawn from.
        needed: bytes that an unbroken study takes.
        expected: what an unbroken one leaves.
    """
    trial, size = Trial(launcher, seed), random.Random(f"disk {seed}").randrange(needed // 50, needed)
    output = root.with_suffix(".txt")
    with disk(root, size):
        place = Place(root, output).make()
        code = type_study(place, launcher, f"{root.name}-full")
        said = output.read_text()
        trial.missed.append(f"{size} of {needed} bytes: ended with {code}")
        if "Traceback" in said or code not in (0, 1):
            trial.problems.append(f"a full disk of {size} bytes ended with {code}: {said[-800:]}")
        if code == 1 and "disk is full" not in said and "No space left" not in said and "room" not in said:
            trial.problems.append(f"nothing says that the disk of {size} bytes is full: {said[-800:]}")
        subprocess.run(["mount", "-o", f"remount,size={WHOLE_DISK}", str(root)], check=True)
        if code := type_study(place, launcher, f"{root.name}-end"):
            trial.problems.append(f"with room again it ended with {code}: {output.read_text()[-800:]}")
        else:
            trial.problems += differences(expected, contents(place))
            trial.problems += [f"left over: {name}" for name in left_over(place)]
    return trial


def clock_set_back(root: Path, launcher: str, seed: int, expected: Contents) -> Trial:
    """A study that is killed while it trains, and that is typed again on a clock that was set back by hours meanwhile.

    Within a command the clock stays: libfaketime 0.9.10 changes the time of Python's `sleep` with it, as no real clock does.
    """
    rng, trial = random.Random(f"clock {seed}"), Trial(launcher, seed)
    place = Place(root).make()
    command = start(["-m", *place.words, *LAUNCHERS[launcher]], place.output, root.name)
    if await_moment(AIMS["training"].watch(place, time.time(), rng), rng.uniform(0, 2), command.has_ended):
        command.kill("all", (), 0)
        trial.kills.append(Kill("training", "all", "clock", 0))
    command.process.wait()
    code = type_study(place, launcher, f"{root.name}-end", {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"-{rng.randint(1, 90)}h"})
    if code:
        trial.problems.append(f"it ended with {code}: {place.output.read_text()[-800:]}")
    else:
        trial.problems += differences(expected, contents(place)) + [f"left over: {name}" for name in left_over(place)]
    if not trial.problems:
        shutil.rmtree(root)
    return trial


def two_users(root: Path, expected: Contents) -> list[str]:
    """Two studies at once on one empty cache, the second one another user's; returns what went wrong."""
    cache = root / "cache"
    cache.mkdir(parents=True)
    cache.chmod(0o1777)
    places = [Place(root / name, cache=cache).make() for name in ("first", "second")]
    root.chmod(0o755)
    shutil.chown(places[1].root, NOBODY, NOBODY)
    home = {"HOME": str(places[1].root), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/tmp"}
    other = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    mine = start(["-m", *places[0].words], places[0].output, f"{root.name}-first")
    # In one process: where Python is root's own, another user can go on with it and start it no more.
    words = ["-m", *places[1].words, *LAUNCHERS["forked"]]
    theirs = start(words, places[1].output, f"{root.name}-second", other, home)
    problems = [
        f"{place.root.name} user: ended with {code}"
        for place, command in zip(places, (mine, theirs), strict=True)
        if (code := command.wait())
    ]
    for place in places if not problems else ():
        # Another user may find another Python, if this one is in somebody's home.
        unlike = [line for line in differences(expected, contents(place)) if "/environment/python: " not in line]
        problems += [f"{place.root.name} user: {line}" for line in unlike]
        problems += [f"left over: {name}" for name in left_over(place)]
    entries = [entry.name for entry in cache.iterdir() if entry.is_dir()]
    return problems + ([] if len(entries) == 1 else [f"entries of the cache: {entries}"])


def used_bytes(folder: Path) -> int:
    """Bytes that a folder takes on a disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def may_mount() -> bool:
    """Whether this process may mount file systems."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
