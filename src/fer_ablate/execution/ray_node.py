"""What happens on a node of a Ray cluster: one run, and what of the run goes back.

A node that sees the folders of the sweep trains in them. Any other one trains in a folder of its own, below its cache of images.
All functions are called by name (`ray_cluster.remote_call`) with plain values, since a node may lack this package.
"""

import gc
import importlib.metadata
import os
import pickle
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray

from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.config.behaviour import code_digest
from fer_ablate.config.key import short
from fer_ablate.errors import UserError
from fer_ablate.execution.job import JobResult, do_job
from fer_ablate.execution.received import Received, has_pixels, keep_pixels
from fer_ablate.execution.run_parcels import (
    Parcel,
    Stamp,
    pack_ended,
    pack_running,
    state_is_due,
    take_up,
)
from fer_ablate.tracking.disk.files import write_atomically
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.training.start import Start

ROOM = 200_000_000
"""Bytes that have to be free on the disk of a node before it begins a run."""

KEPT_SECONDS = 24 * 3600.0
"""How long a node keeps what is left of a run whose sweep was killed: the sweep has all but its last minutes."""

FULL = 20_000_000
"""A run that failed while fewer bytes were free has failed for lack of room."""


@dataclass(frozen=True)
class Expected:
    """What the machine of the sweep expects of a node.

    Args:
        code: digest of the code that decides results, see `behaviour.code_digest`.
        token: a file in the folder of the sweep, and its content: whoever reads the same sees the same disk.
        places: files and folders beside those of the runs that the runs read, such as the images.
    """

    code: str
    token: tuple[str, str]
    places: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether this machine sees all that a run reads and writes; a folder of runs that only some share does not suffice."""
        try:
            return Path(self.token[0]).read_text() == self.token[1] and all(Path(place).exists() for place in self.places)
        except OSError:
            return False


@dataclass(frozen=True)
class SentImages:
    """Images as they travel through Ray's object store.

    Args:
        pixels: their digest, see `received.pixel_digest`.
        size: bytes of the pixels.
        blocks: references to the pixels, block by block.
        description: reference to the rest, see `received.description`.
    """

    pixels: str
    size: int
    blocks: list[Any]
    description: Any


@dataclass(frozen=True)
class Request:
    """A run for a node.

    Args:
        spec: the pickled `RunSpec`, as the sweep has it.
        key: of the run.
        cwd: folder of the sweep, from which relative paths start where the disk is shared.
        expected: see `Expected`.
        images: None as long as every node seems to see the disk of the sweep.
        start: the weights to begin with, and the reference of their file; None: drawn or published weights.
        pretrained: reference of the file that `model.pretrained_path` names; None if it names none.
        state: reference of what an earlier part of this run has left, a `Parcel`; None if it never began.
    """

    spec: bytes
    key: str
    cwd: str
    expected: Expected
    images: SentImages | None
    start: tuple[Start, Any] | None
    pretrained: Any
    state: Any


@dataclass(frozen=True)
class Reply:
    """How a run ended on a node.

    Args:
        node: id of the node.
        result: None if the node could not train it.
        shared: whether it was trained in the folders of the sweep.
        unfit: why the node cannot train; empty if it can.
        unfit_for_run: why it cannot train this run; others it may.
        lacks_images: whether the node sees no disk of the sweep and was sent no images.
    """

    node: str
    result: JobResult | None = None
    shared: bool = False
    unfit: str = ""
    unfit_for_run: str = ""
    lacks_images: bool = False


def train(request: bytes, references: list[Any]) -> Reply:
    """Do a run on this node.

    Args:
        request: a pickled `Request` with numbers of references in place of these.
        references: given apart, since Ray has to see them.
    """
    reply = Reply(ray.get_runtime_context().get_node_id())
    try:
        asked = with_references(pickle.loads(request), references)
        if unfit := _unfit(asked.expected.code):
            return replace(reply, unfit=unfit)
        spec = pickle.loads(asked.spec)
    except (AttributeError, ImportError, TypeError) as error:
        # Code that decides no result differs, so that neither the version nor the digest shows it.
        return replace(reply, unfit=f"its fer_ablate cannot read what the sweep sends ({type(error).__name__}: {error})")
    if asked.expected.met:
        os.chdir(asked.cwd)
        return replace(reply, result=do_job(spec, own_process=True), shared=True)
    if asked.images is None:
        return replace(reply, lacks_images=True)
    try:
        return _train_here(asked, spec, asked.images, reply)
    finally:
        gc.collect()  # modules and trainers refer to each other in circles, and hold the memory of a whole run


def running(expected: bytes, asked: Mapping[str, tuple[dict[str, Stamp], float]]) -> dict[str, Parcel] | None:
    """What has changed in the folders of runs that this node trains just now; None if it trains in the folders of the sweep.

    Args:
        expected: a pickled `Expected`.
        asked: key -> what the sweep has of the run, and seconds since it got the checkpoints.
    """
    if pickle.loads(expected).met:
        return None
    found: dict[str, Parcel] = {}
    for key, (known, seconds) in asked.items():
        folder = _run_folder(key)
        if folder.begun and folder.in_training:
            with suppress(OSError):  # it has just ended
                found[key] = pack_running(folder, known, state_is_due(folder, seconds))
    return found


def ended(key: str, known: dict[str, Stamp]) -> Parcel | None:
    """What the sweep lacks of a run that has ended here, whether or not it is finished; None if there is nothing of it."""
    folder = _run_folder(key)
    return pack_ended(folder, known) if folder.begun and not folder.in_training else None


def forget(key: str) -> None:
    """Delete what this node has of a run, which the sweep has now."""
    if not _run_folder(key).in_training:  # by another sweep, which plans the same run
        shutil.rmtree(_home(key), ignore_errors=True)


def cache_dir() -> Path:
    """Folder of the cache of images of this node: FER_ABLATE_CACHE of its Ray, or the usual place."""
    return Path(os.environ.get("FER_ABLATE_CACHE") or Path.home() / ".cache" / "fer_ablate").absolute()


def with_references(request: Request, references: list[Any]) -> Request:
    """The request with references in place of their numbers."""

    def one(number: Any) -> Any:
        return None if number is None else references[number]

    images = request.images
    if images is not None:
        images = replace(images, blocks=[one(block) for block in images.blocks], description=one(images.description))
    start = (request.start[0], one(request.start[1])) if request.start is not None else None
    return replace(request, images=images, start=start, pretrained=one(request.pretrained), state=one(request.state))


def _train_here(asked: Request, spec: RunSpec, images: SentImages, reply: Reply) -> Reply:
    """Do a run in a folder of this node."""
    home, folder = _home(asked.key), _run_folder(asked.key)
    if folder.in_training:
        return replace(reply, result=JobResult(RunState.running, asked.key))
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        _sweep_left_over()
        missing = 0 if has_pixels(cache_dir(), images.pixels) else images.size
        if reason := _no_room(missing):
            return replace(reply, unfit=reason)
        keep_pixels(cache_dir(), images.pixels, lambda: map(ray.get, images.blocks))
        received = Received(home / "received")
        start = (asked.start[0], ray.get(asked.start[1])) if asked.start is not None else None
        received.write(cache_dir(), images.pixels, ray.get(images.description), start)
        take_up(folder, ray.get(asked.state) if asked.state is not None else None)
    except (UserError, OSError) as error:  # of the disk of this node
        return replace(reply, unfit=str(error))
    os.chdir(home.parent)  # not into the folder of the run, which is deleted while this process goes on
    path = spec.config.model.pretrained_path
    if asked.pretrained is not None and path is not None and (reason := _put_in_place(Path(path), asked.pretrained)):
        return replace(reply, unfit_for_run=reason)
    if reason := _other_run(spec, received):
        return replace(reply, unfit_for_run=reason)
    result = do_job(replace(spec, folder=str(folder.path), received=str(received.folder)), own_process=True)
    if result.state is RunState.failed and _free() < FULL:
        return replace(reply, unfit=f"the disk of {cache_dir()} is full")
    return replace(reply, result=result)


def _put_in_place(path: Path, content: Any) -> str:
    """Put the published weights where the config names them, unless they are there; returns why that did not work."""
    if path.is_file():
        return ""
    try:
        data = np.asarray(ray.get(content))
        write_atomically(path, lambda stream: stream.write(data.data))
    except UserError as error:
        return f"model.pretrained_path: {error}"
    return ""


def _other_run(spec: RunSpec, received: Received) -> str:
    """Why this node would train another run than the planned one; empty if it trains the same."""
    from fer_ablate.training.identity import run_identity

    faces = received.faces()
    here = run_identity(spec.config, faces.digest, received.start(), faces.classes)
    if here.key == spec.key or not spec.key:
        return ""
    return (
        f"{spec.name} was planned as run {short(spec.key)} but would be run {short(here.key)} there: its number format "
        f"({here.settings['trainer.precision']}) or code differs"
    )


def _unfit(code: str) -> str:
    """Why this node cannot train, whatever the run; empty if it can."""
    try:
        importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return "torch is not installed there"
    found = code_digest(())
    return "" if found == code else f"its fer_ablate is another version (code {found}, here {code})"


def _no_room(size: int) -> str:
    """Why there is no room for images of so many bytes and a run; empty if there is."""
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        free = _free()
        if not os.access(cache_dir(), os.W_OK):
            return f"its cache {cache_dir()} cannot be written. Set FER_ABLATE_CACHE where its Ray is started"
    except OSError as error:
        return f"its cache {cache_dir()} cannot be made ({error.strerror}). Set FER_ABLATE_CACHE where its Ray is started"
    needed = size + ROOM
    if free >= needed:
        return ""
    return f"{free / 1e6:,.0f} MB are free in its cache {cache_dir()}, and {needed / 1e6:,.0f} MB are needed"


def _free() -> int:
    return shutil.disk_usage(cache_dir()).free


def _sweep_left_over() -> None:
    """Delete runs of sweeps that were killed long ago and never came back for them."""
    for home in (cache_dir() / "ray").glob("*"):
        with suppress(OSError):
            # The folder itself does not change while epochs are added to files below it.
            changed = max(file.lstat().st_mtime for file in (home, *home.rglob("*")))
            old = time.time() - changed > KEPT_SECONDS
            if old and not RunFolder(home / "run").in_training:
                shutil.rmtree(home, ignore_errors=True)


def _home(key: str) -> Path:
    return cache_dir() / "ray" / key


def _run_folder(key: str) -> RunFolder:
    return RunFolder(_home(key) / "run")
