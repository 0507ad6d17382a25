"""Runs on a Ray cluster whose nodes need the package, but neither the folders nor the images of the machine of the sweep.

Where every node sees the disk of the sweep, Hydra's launcher does it all. Otherwise the images go out once through Ray's object
store, requests travel with the tasks, and run folders come back while they grow (`run_parcels`), so that the folder of the sweep
is the truth here as well. A run whose process or node is gone goes on from the last checkpoint that came back. Ray itself decides
where a run is trained; it is only told which nodes cannot.
"""

import os
import pickle
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any, cast

import numpy as np
import ray
from omegaconf import DictConfig, OmegaConf
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from fer_ablate.cli import console
from fer_ablate.cli.command_line import RunSpec
from fer_ablate.config.behaviour import code_digest, plugin_files
from fer_ablate.config.schema import DataConfig
from fer_ablate.data.load import load_faces
from fer_ablate.errors import BusyError, UserError
from fer_ablate.execution.job import JobResult, result_on_disk
from fer_ablate.execution.ray_cluster import Nodes, needed_by, nodes, on_node, ready, remote_call
from fer_ablate.execution.ray_node import Expected, Reply, Request, SentImages
from fer_ablate.execution.received import description, is_elsewhere, pixel_digest
from fer_ablate.execution.run_parcels import Parcel, Stamp, pack_unfinished, unpack
from fer_ablate.tracking.disk.files import write_text
from fer_ablate.tracking.disk.log import first_line
from fer_ablate.tracking.disk.lookup import resolve_start
from fer_ablate.tracking.disk.progress_file import PROGRESS, remove_progress
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState

Launch = Callable[[Sequence[RunSpec]], Sequence[JobResult]]

POLL_SECONDS = 1.0
"""Time between two questions to a node about the runs that it trains."""

LOOK_SECONDS = 10.0
"""Time between two looks for nodes that have joined."""

RETRIES = 3
"""How often a run is begun again whose process or node was lost, as Ray does by default."""

BLOCK_BYTES = 256 << 20
"""Images travel in blocks of this size, so that a node needs no more memory for them."""


class RayRuns:
    """Does runs on a Ray cluster.

    Args:
        settings: `hydra.launcher.ray`: arguments of `ray.init` and options of the tasks.
        folder: of the sweep, for a file that shows which nodes see its disk.
        hydra: does runs through Hydra's launcher.
    """

    def __init__(self, settings: DictConfig, folder: Path, hydra: Launch) -> None:
        plain = cast(dict[str, Any], OmegaConf.to_container(settings, resolve=True))
        self._init: dict[str, Any] = plain.get("init") or {}
        self._options: dict[str, Any] = plain.get("remote") or {}
        self._folder, self._hydra = folder, hydra
        self._nodes: Nodes | None = None
        self._sent = _Sent()

    def launch(self, specs: Sequence[RunSpec]) -> Sequence[JobResult]:
        """Do runs; returns their results when all have ended."""
        if not ray.is_initialized():
            ray.init(**self._init)
        if self._nodes is None:
            self._nodes = self._surveyed()
        if self._by_hydra(self._nodes):
            return self._hydra(specs)
        with _staged_plugins(specs) as environment:
            options = {**environment, **self._options, "max_retries": 0}
            return _Sweep(self._nodes, options, int(self._options.get("max_retries", RETRIES)), self._sent).launch(specs)

    def _surveyed(self) -> Nodes:
        token = self._folder.absolute() / "seen-by"
        write_text(token, text := uuid.uuid4().hex)
        found = Nodes(Expected(code_digest(()), (str(token), text)), _note, needed_by(self._options))
        if not self._own:
            found.look()
        return found

    def _by_hydra(self, known: Nodes) -> bool:
        # A head that is alone so far may be that of a cluster that grows when there are runs.
        return self._own or (known.all_shared and len(nodes()) > 1)

    @property
    def _own(self) -> bool:
        """Whether Ray runs on this machine only, started by this process."""
        named = self._init.get("address") or os.environ.get("RAY_ADDRESS")
        return not named and [one.id for one in nodes()] == [ray.get_runtime_context().get_node_id()]


@dataclass
class _Flight:
    """A run on its way.

    Args:
        spec: the run.
        excluded: nodes that cannot train this run -> why.
        lost: how often its process or node was lost.
        place: node that trains it, as far as is known.
        known: name -> stamp of the files that came back from there.
        state_at: when the last checkpoint came back.
        held: holds the lock of its folder once it has begun.
    """

    spec: RunSpec
    excluded: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    place: str = ""
    known: dict[str, Stamp] = field(default_factory=dict)
    state_at: float = field(default_factory=monotonic)
    held: ExitStack = field(default_factory=ExitStack)
    begun: bool = False

    @property
    def folder(self) -> RunFolder:
        """Where the run is kept."""
        return RunFolder(Path(self.spec.folder))


class _Sent:
    """What has been put into Ray's object store: images by data config, files by name and time."""

    def __init__(self) -> None:
        self.always = False
        self._pixels: dict[str, list[Any]] = {}
        self._images: dict[str, SentImages] = {}
        self._files: dict[tuple[str, int], Any] = {}

    def images(self, config: DataConfig) -> SentImages:
        """The images of a data config."""
        name = repr(config)
        if name not in self._images:
            faces = load_faces(config)
            digest = pixel_digest(faces.faces)
            if digest not in self._pixels:
                step = max(BLOCK_BYTES * len(faces.faces) // max(faces.faces.nbytes, 1), 1)
                blocks = (faces.faces[first : first + step] for first in range(0, len(faces.faces), step))
                self._pixels[digest] = [ray.put(np.array(block)) for block in blocks]
            self._images[name] = SentImages(digest, faces.faces.nbytes, self._pixels[digest], ray.put(description(faces)))
        return self._images[name]

    def file(self, path: Path) -> Any:
        """A file, as bytes."""
        name = (str(path), path.stat().st_mtime_ns)
        if name not in self._files:
            self._files[name] = ray.put(np.fromfile(path, np.uint8))
        return self._files[name]


class _Sweep:
    """Some runs, from their requests to their results.

    Args:
        known: the nodes of the cluster.
        options: of the tasks, Ray's.
        retries: how often a run is begun again.
        sent: what is in the object store already.
    """

    def __init__(self, known: Nodes, options: Mapping[str, Any], retries: int, sent: _Sent) -> None:
        self._nodes, self._options, self._retries, self._sent = known, options, retries, sent
        self._flights: dict[Any, _Flight] = {}
        self._polls: dict[Any, str] = {}
        self._polled_at: dict[str, float] = {}
        self._looked_at = monotonic()
        self._results: dict[int, JobResult] = {}

    def launch(self, specs: Sequence[RunSpec]) -> list[JobResult]:
        """Do the runs."""
        self._sent.always |= bool(self._nodes.apart)
        flights = [_Flight(spec) for spec in specs]
        try:
            for flight in flights:
                self._submit(flight)
            while self._flights:
                self._look()
                self._ask()
                for reference in ready([*self._flights, *self._polls], POLL_SECONDS):
                    if reference in self._polls:
                        self._take_changes(reference)
                    elif reference in self._flights:
                        self._take_reply(reference)
        finally:
            self._leave(flights)
        return [self._results[id(flight)] for flight in flights]

    def _submit(self, flight: _Flight) -> None:
        """Give a run to Ray, unless no node is left for it."""
        if not self._nodes.left_for(flight.excluded):
            self._end(flight, _no_node(flight, self._nodes))
            return
        try:
            packed, references = self._packed(flight)
        except (UserError, OSError) as error:  # of the images or the weights to begin with
            self._end(flight, JobResult(RunState.failed, flight.spec.key, str(error)))
            return
        selector = {**(self._options.get("label_selector") or {}), **self._nodes.selector(flight.excluded)}
        options = {**self._options, **({"label_selector": selector} if selector else {})}
        flight.place, flight.known, flight.state_at = "", {}, monotonic()
        self._flights[remote_call(options, "train", packed, references)] = flight

    def _packed(self, flight: _Flight) -> tuple[bytes, list[Any]]:
        """The request, with numbers in place of references, which Ray has to see."""
        spec, references = flight.spec, []

        def number(reference: Any) -> int:
            references.append(reference)
            return len(references) - 1

        images, start, pretrained, state = None, None, None, None
        if self._sent.always:
            sent = self._sent.images(spec.config.data)
            images = replace(sent, blocks=[number(one) for one in sent.blocks], description=number(sent.description))
            if spec.config.init_from is not None:
                found = resolve_start(spec.config.init_from, Path(spec.config.runs_dir))
                start = (found.identity, number(self._sent.file(found.path)))
            if spec.config.model.pretrained is not None and spec.config.model.pretrained_path is not None:
                pretrained = number(self._sent.file(Path(spec.config.model.pretrained_path)))
            if not spec.config.force and (left := pack_unfinished(flight.folder)) is not None:
                state = number(ray.put(left))
        request = Request(pickle.dumps(spec), spec.key, str(Path.cwd()), self._nodes.expected, images, start, pretrained, state)
        return pickle.dumps(request), references

    def _look(self) -> None:
        """Look for nodes that have joined."""
        if monotonic() - self._looked_at > LOOK_SECONDS:
            self._looked_at = monotonic()
            if self._nodes.look():
                self._resubmit_waiting()

    def _ask(self) -> None:
        """Ask each node about the runs that it may be training."""
        present = {one.id for one in nodes()}
        busy = set(self._polls.values())
        now = monotonic()
        asked = {one.spec.key: (one.known, now - one.state_at) for one in self._flights.values()}
        for node in self._nodes.apart:
            if node in present and node not in busy and now - self._polled_at.get(node, 0.0) >= POLL_SECONDS:
                self._polled_at[node] = now
                self._polls[on_node(node, "running", asked)] = node

    def _take_changes(self, reference: Any) -> None:
        node = self._polls.pop(reference)
        with suppress(RayError):  # the node is gone; so are its runs, which Ray says itself
            found: dict[str, Parcel] = ray.get(reference)
            by_key = {flight.spec.key: (task, flight) for task, flight in self._flights.items()}
            for key, parcel in found.items():
                if key in by_key:
                    self._take_parcel(*by_key[key], node, parcel)

    def _take_parcel(self, task: Any, flight: _Flight, node: str, parcel: Parcel) -> None:
        try:
            self._begin(flight, node)
        except BusyError:  # another process trains it into the same folder
            del self._flights[task]
            ray.cancel(task, force=True)
            self._end(flight, JobResult(RunState.running, flight.spec.key))
            return
        unpack(parcel, flight.folder)
        flight.known = parcel.stamps
        if parcel.has_state:
            flight.state_at = monotonic()

    def _begin(self, flight: _Flight, node: str) -> None:
        """Hold the folder of a run that a node trains.

        Raises:
            BusyError: another process holds it.
        """
        if not flight.begun:
            flight.held.enter_context(flight.folder.lock())
            flight.begun = True
            if flight.spec.config.force:
                flight.folder.clear()
        if flight.place != node:
            flight.place = node
            host = next((one.host for one in nodes() if one.id == node), node[:8])
            # Once for each node: by the time of this file whoever watches knows what is new.
            write_text(flight.folder.owner_file, f"the Ray node {host} ({node[:8]}), for {_this_process()}")

    def _take_reply(self, reference: Any) -> None:
        """Take what a task returned, or find out why it returned nothing."""
        flight = self._flights.pop(reference)
        try:
            found = ray.get(reference)
        except TaskCancelledError:
            self._submit(flight)
            return
        except RayTaskError as error:
            self._lost(flight, f"{type(error.cause).__name__}: {first_line(error.cause)}")
            return
        except RayError as error:
            self._lost(flight, f"{type(error).__name__}: {first_line(error)}")
            return
        if not isinstance(found, Reply):
            node = found["node"]
            host = next((one.host for one in nodes() if one.id == node), "?")
            found = Reply(node, host, unfit=f"fer_ablate cannot be imported there ({found['problem']})")
        self._take(flight, found)

    def _take(self, flight: _Flight, reply: Reply) -> None:
        if reply.lacks_images:
            self._sent.always = True
            self._submit(flight)
        elif reply.unfit or reply.unfit_for_run:
            self._bring(flight, reply.node)
            flight.excluded[reply.node] = f"{reply.host} ({reply.node[:8]}): {reply.unfit or reply.unfit_for_run}"
            if reply.unfit and self._nodes.exclude(reply.node, reply.host, reply.unfit):
                self._resubmit_waiting()
            self._submit(flight)
        elif reply.shared or reply.result is None or reply.result.state is RunState.running:
            self._end(flight, reply.result or JobResult(RunState.missing, flight.spec.key))
        elif self._bring(flight, reply.node):
            with suppress(RayError):
                ray.get(on_node(reply.node, "forget", flight.spec.key))
            self._end(flight, _as_kept(reply.result, flight))
        else:
            self._lost(flight, "its node was lost before its result came back")

    def _bring(self, flight: _Flight, node: str) -> bool:
        """Bring everything that a node has of a run that has ended there; returns whether that worked."""
        try:
            parcel: Parcel | None = ray.get(on_node(node, "ended", flight.spec.key, flight.known))
        except RayError:
            return False
        if not isinstance(parcel, Parcel):
            # A run that tries a few batches keeps nothing.
            return bool(flight.spec.config.trainer.fast_dev_run)
        self._begin(flight, node)
        unpack(parcel, flight.folder)
        tracking = flight.spec.config.tracking
        if tracking.enabled and is_elsewhere(tracking.uri) and flight.folder.begun:
            write_text(flight.folder.pending_file, "")
        if flight.folder.finished:
            flight.folder.last_checkpoint.unlink(missing_ok=True)
        return True

    def _lost(self, flight: _Flight, problem: str) -> None:
        """Begin a run again whose process or node is gone, from what has come back of it."""
        flight.lost += 1
        if flight.place and any(one.id == flight.place for one in nodes()):
            self._bring(flight, flight.place)  # the process is gone, but not its disk
        if flight.folder.finished and flight.begun:
            self._end(flight, JobResult(RunState.finished, flight.spec.key))
        elif flight.lost > self._retries:
            remove_progress(flight.folder.path / PROGRESS)
            flight.held.close()  # or else the folder would seem to be in training
            found = result_on_disk(flight.folder, flight.spec.key, problem)
            if found.state is RunState.missing and not found.problem:
                # With a reason, or else the sweep would begin it for ever.
                found = replace(found, problem=f"its process ended before it began ({problem})")
            self._end(flight, found)
        else:
            _note(f"{flight.spec.title}: its process is gone ({problem}); it goes on from what has come back")
            self._submit(flight)

    def _resubmit_waiting(self) -> None:
        """Take back the runs that have not begun: Ray may have planned them for a node that now gets none."""
        for task, flight in self._flights.items():
            if not flight.begun:
                ray.cancel(task)

    def _end(self, flight: _Flight, result: JobResult) -> None:
        flight.held.close()
        self._results[id(flight)] = result

    def _leave(self, flights: Sequence[_Flight]) -> None:
        """Leave nothing behind when the sweep ends early: no tasks, no locks, no signs of progress."""
        for task in self._flights:
            with suppress(RayError):
                ray.cancel(task, force=True)
        for flight in flights:
            if flight.begun and id(flight) not in self._results:
                remove_progress(flight.folder.path / PROGRESS)
            flight.held.close()


def _as_kept(result: JobResult, flight: _Flight) -> JobResult:
    """The result with the places of this machine."""
    if not result.log:
        return result
    there = str(Path(result.log).parent)
    return replace(result, problem=result.problem.replace(there, flight.spec.folder), log=str(flight.folder.log_file))


def _no_node(flight: _Flight, known: Nodes) -> JobResult:
    reasons = "; ".join({**known.unfit, **flight.excluded}.values()) or "none has the resources that a run needs"
    return JobResult(RunState.failed, flight.spec.key, f"no node of the Ray cluster can train it: {reasons}")


@contextmanager
def _staged_plugins(specs: Sequence[RunSpec]) -> Iterator[dict[str, Any]]:
    """Options that bring the plugins of the runs, and the modules of the user's own that they import, to every node."""
    files = plugin_files({name for spec in specs for name in spec.config.plugins})
    if not files:
        yield {}
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(os.path.commonpath([file.parent for file in files]))
        while (root / "__init__.py").is_file():
            root = root.parent
        for file in files:
            target = Path(folder) / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
        yield {"runtime_env": {"working_dir": folder}}


@cache
def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _note(text: str) -> None:
    console.console.print(f"  note: {text}", style="yellow")
