"""Runs on a Ray cluster whose nodes need the package, but neither the folders nor the images of the machine of the sweep.

A node that sees the disk of the sweep trains in its folders. To any other one the images go once through Ray's object store,
requests travel with the tasks, and run folders come back while they grow (`run_parcels`), so that the folder of the sweep is the
truth here as well. A run whose process or node is gone goes on from the last checkpoint that came back. Ray decides where a run
is trained; only nodes that turned out unable are kept from it. Where Ray is this machine alone, Hydra's launcher does it all.
"""

import os
import pickle
import socket
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any, cast

import ray
from omegaconf import DictConfig, OmegaConf
from ray.exceptions import RayError, RayTaskError

from fer_ablate.addresses import bare
from fer_ablate.cli import console
from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.config.behaviour import code_digest
from fer_ablate.errors import BusyError, UserError, first_line
from fer_ablate.execution.job import JobResult, result_on_disk, times_before
from fer_ablate.execution.ray_cluster import Nodes, connect, needed_by, nodes, ready, remote_call
from fer_ablate.execution.ray_node import Expected, Reply
from fer_ablate.execution.ray_sent import Sent, places, staged_plugins
from fer_ablate.execution.run_parcels import Parcel, Stamp, unpack
from fer_ablate.tracking.disk.files import Times, write_text
from fer_ablate.tracking.disk.progress_file import PROGRESS, remove_progress
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.run_state import RunState

Launch = Callable[[Sequence[RunSpec]], Sequence[JobResult]]

POLL_SECONDS = 1.0
"""Time between two questions to a node about the runs that it trains."""

SLOW_SECONDS = 120.0
"""Time after which a node that has not answered at all is named; to start a process there can take a minute on a busy machine."""

DEATHS = 3
"""So many processes in a row that end before they answer show that a node is unable, as where Ray's own folder there is full."""

RETRIES = 3
"""How often a run is begun again whose process or node was lost, as Ray does by default."""


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
        self._nodes = Nodes(_note, needed_by(self._options))
        self._sent = Sent()

    def launch(self, specs: Sequence[RunSpec]) -> Sequence[JobResult]:
        """Do runs; returns their results when all have ended."""
        connect(self._init)
        if self._own:
            return self._hydra(specs)
        token = self._folder.absolute() / "seen-by"
        write_text(token, text := uuid.uuid4().hex)
        expected = Expected(code_digest(()), (str(token), text), places(specs))
        with staged_plugins(specs) as environment:
            options = {**environment, **self._options, "max_retries": 0}
            retries = int(self._options.get("max_retries", RETRIES))
            return _Sweep(self._nodes, expected, options, retries, self._sent).launch(specs)

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
        place: node apart that trains it, as far as is known.
        places: all such nodes so far.
        known: name -> stamp of the files that came back from there.
        state_at: when the last checkpoint came back.
        held: holds the lock of its folder once it has begun.
        before: times of the files that an earlier attempt left.
    """

    spec: RunSpec
    excluded: dict[str, str] = field(default_factory=dict)
    lost: int = 0
    place: str = ""
    places: set[str] = field(default_factory=set)
    known: dict[str, Stamp] = field(default_factory=dict)
    state_at: float = field(default_factory=monotonic)
    held: ExitStack = field(default_factory=ExitStack)
    begun: bool = False
    before: Times = field(init=False)

    def __post_init__(self) -> None:
        self.before = times_before(self.folder, self.spec.config.force)

    @property
    def folder(self) -> RunFolder:
        """Where the run is kept."""
        return RunFolder(Path(self.spec.folder))


class _Sweep:
    """Some runs, from their requests to their results.

    Args:
        known: the nodes of the cluster.
        expected: of every node.
        options: of the tasks, Ray's.
        retries: how often a run is begun again.
        sent: what is in the object store already.
    """

    def __init__(self, known: Nodes, expected: Expected, options: Mapping[str, Any], retries: int, sent: Sent) -> None:
        self._nodes, self._expected, self._options, self._retries, self._sent = known, expected, options, retries, sent
        self._flights: dict[Any, _Flight] = {}
        self._polls: dict[Any, str] = {}
        self._asked_at: dict[str, float] = {}
        self._looked_at = 0.0
        self._answered: set[str] = set()
        self._deaths: Counter[str] = Counter()
        self._shared: set[str] = set()
        self._named: set[str] = set()
        self._results: dict[int, JobResult] = {}

    def launch(self, specs: Sequence[RunSpec]) -> list[JobResult]:
        """Do the runs."""
        flights = [_Flight(spec) for spec in specs]
        try:
            self._nodes.look()
            for flight in flights:
                self._submit(flight)
            while self._flights:
                if monotonic() - self._looked_at >= POLL_SECONDS:
                    self._looked_at = monotonic()
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
            packed, references = self._sent.request(flight.spec, self._expected)
        except (UserError, OSError) as error:  # of the images or the weights to begin with
            self._end(flight, JobResult(RunState.failed, flight.spec.key, str(error)))
            return
        selector = {**(self._options.get("label_selector") or {}), **self._nodes.selector(flight.excluded)}
        options = {**self._options, **({"label_selector": selector} if selector else {})}
        flight.place, flight.known, flight.state_at = "", {}, monotonic()
        self._flights[remote_call(options, "train", packed, references)] = flight

    def _look(self) -> None:
        """Look for nodes that have come and gone, and give up runs for which none is left."""
        self._nodes.look()
        if not self._nodes.here:
            needed = ", ".join(f"{amount:g} {name}" for name, amount in self._nodes.needed.items())
            self._name_once(f"no node of the Ray cluster has what a run needs ({needed}); the runs wait for one")
        for task, flight in list(self._flights.items()):
            if not flight.begun and not self._nodes.left_for(flight.excluded):
                del self._flights[task]
                ray.cancel(task, force=True)
                self._end(flight, _no_node(flight, self._nodes))

    def _ask(self) -> None:
        """Ask each node that does not train in the folders of the sweep what is new of the runs that it may be training."""
        now = monotonic()
        expected = pickle.dumps(self._expected)  # since a node without the package could not read it
        known = {flight.spec.key: (flight.known, now - flight.state_at) for flight in self._flights.values()}
        for node in self._nodes.here:
            if node.id in self._shared or node.id in self._nodes.unfit:
                continue
            if node.id not in self._polls.values():
                self._asked_at[node.id] = now
                self._polls[self._nodes.ask(node.id, "running", expected, known)] = node.id
            elif node.id not in self._answered and now - self._asked_at[node.id] > SLOW_SECONDS:
                self._name_once(f"the Ray node {self._nodes.host(node.id)} has not answered for {SLOW_SECONDS:.0f} seconds")

    def _name_once(self, text: str) -> None:
        if text not in self._named:
            self._named.add(text)
            _note(text)

    def _take_changes(self, reference: Any) -> None:
        node = self._polls.pop(reference)
        try:
            found: dict[str, Parcel] | tuple[str, str] | None = ray.get(reference)
        except RayTaskError as error:
            self._nodes.exclude(node, f"it cannot answer the sweep ({type(error.cause).__name__}: {first_line(error.cause)})")
            return
        except RayError as error:
            self._no_answer(node, _first_sentence(error))
            return
        self._answered.add(node)
        del self._deaths[node]
        if found is None:
            self._shared.add(node)
        elif isinstance(found, tuple):
            self._nodes.exclude(node, found[1])
        else:
            by_key = {flight.spec.key: (task, flight) for task, flight in self._flights.items()}
            for key in found.keys() & by_key.keys():
                self._take_parcel(*by_key[key], node, found[key])

    def _no_answer(self, node: str, problem: str) -> None:
        """Ask a node by another process the next time, or give it up."""
        self._nodes.dismiss(node)
        self._nodes.look()
        if any(one.id == node for one in self._nodes.here):  # if the node is gone, so are its runs, which Ray says itself
            self._deaths[node] += 1
            if self._deaths[node] == DEATHS:
                del self._deaths[node]
                self._nodes.exclude(node, f"its processes end before they answer ({problem}); see the logs of Ray there")

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
            flight.places.add(node)
            # Once for each node: by the time of this file whoever watches knows what is new.
            write_text(flight.folder.owner_file, f"the Ray node {self._nodes.host(node)}, for {_this_process()}")

    def _take_reply(self, reference: Any) -> None:
        """Take what a task returned, or find out why it returned nothing."""
        flight = self._flights.pop(reference)
        try:
            found: Reply | tuple[str, str] = ray.get(reference)
        except RayTaskError as error:
            found, problem = Reply(""), f"{type(error.cause).__name__}: {first_line(error.cause)}"
        except RayError as error:
            found, problem = Reply(""), _first_sentence(error)
        if isinstance(found, tuple):
            found = Reply(found[0], unfit=found[1])
        try:
            if found.node:
                self._take(flight, found)
            else:
                self._lost(flight, problem)
        except BusyError:  # another process trains it into the same folder
            self._end(flight, JobResult(RunState.running, flight.spec.key))

    def _take(self, flight: _Flight, reply: Reply) -> None:
        if reply.lacks_images:
            self._sent.always = True
            self._submit(flight)
        elif problem := reply.unfit or reply.unfit_for_run:
            self._bring(flight, reply.node)
            flight.excluded[reply.node] = f"{self._nodes.host(reply.node)}: {problem}"
            if reply.unfit:
                self._nodes.exclude(reply.node, reply.unfit)
            self._submit(flight)
        elif reply.shared or reply.result is None or reply.result.state is RunState.running:
            self._end(flight, reply.result or JobResult(RunState.missing, flight.spec.key))
        elif self._bring(flight, reply.node):
            self._forget(flight, reply.node)
            self._end(flight, _as_kept(reply.result, flight))
        else:
            flight.place = reply.node
            self._lost(flight, "its result did not come back")

    def _forget(self, flight: _Flight, node: str) -> None:
        """Let the nodes that have trained a run delete what they have of it, since it has come back."""
        there = {one.id for one in self._nodes.here}
        for reference in [self._nodes.ask(one, "forget", flight.spec.key) for one in {*flight.places, node} & there]:
            with suppress(RayError):
                ray.get(reference)

    def _bring(self, flight: _Flight, node: str) -> bool:
        """Bring everything that a node has of a run that has ended there; returns whether that worked."""
        try:
            parcel: Parcel | None = ray.get(self._nodes.ask(node, "ended", flight.spec.key, flight.known))
        except RayError:
            self._nodes.dismiss(node)
            return False
        if not isinstance(parcel, Parcel):
            # A run that tries a few batches keeps nothing.
            return bool(flight.spec.config.trainer.fast_dev_run)
        self._begin(flight, node)
        unpack(parcel, flight.folder)
        tracking = flight.spec.config.tracking
        if tracking.enabled and flight.folder.begun:
            # Nodes apart have no credentials of a server, and do not see a file: this machine sends the run to MLflow.
            write_text(flight.folder.pending_file, bare(tracking.uri))
        if flight.folder.finished and not flight.folder.keeps_state:
            flight.folder.last_checkpoint.unlink(missing_ok=True)
        return True

    def _lost(self, flight: _Flight, problem: str) -> None:
        """Begin a run again whose process or node is gone, from what has come back of it."""
        self._nodes.look()
        if flight.place or not any(one.id in self._deaths for one in self._nodes.here):
            # A node whose processes end before they answer is no fault of the run, which it may have been given again and again.
            flight.lost += 1
        if any(one.id == flight.place for one in self._nodes.here):
            self._bring(flight, flight.place)  # the process is gone, but not the disk of its node
        if flight.folder.finished and flight.begun:
            self._end(flight, JobResult(RunState.finished, flight.spec.key))
        elif flight.lost > self._retries:
            remove_progress(flight.folder.path / PROGRESS)
            flight.held.close()  # or else the folder would seem to be in training
            found = result_on_disk(flight.folder, flight.spec.key, problem, flight.before)
            if found.state is RunState.missing and not found.problem:
                # With a reason, or else the sweep would begin it for ever.
                found = replace(found, problem=f"its process ended before it began ({problem})")
            self._end(flight, found)
        else:
            follows = "goes on from what has come back" if flight.begun else "is begun again"
            _note(f"{flight.spec.title}: its process is gone ({problem}); it {follows}")
            self._submit(flight)

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
    reasons = "; ".join({**known.unfit, **flight.excluded}.values()) or "none is left"
    return JobResult(RunState.failed, flight.spec.key, f"no node of the Ray cluster can train it: {reasons}")


def _first_sentence(error: RayError) -> str:
    """Kind and first sentence of an error: those that follow name commands of Ray's for every run again."""
    return f"{type(error).__name__}: {first_line(error).partition('. ')[0].rstrip('.')}"


@cache
def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _note(text: str) -> None:
    console.console.print(f"  note: {text}", style="yellow")
