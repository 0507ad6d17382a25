"""The nodes of a Ray cluster: calls on one of them, which of them are there, and which get no runs and why."""

import importlib.metadata
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fer_ablate.addresses import hide
from fer_ablate.errors import UserError

NODE_ID = "ray.io/node-id"
"""Label that Ray itself gives to every node."""


def _by_value() -> Callable[..., Any]:
    # Defined within a function: Ray then sends its code, which also runs where this package is not installed.
    def call(version: str, name: str, *arguments: Any) -> Any:
        import importlib.metadata

        problem = ""
        try:
            functions = importlib.import_module("fer_ablate.execution.ray_node")
            there = importlib.metadata.version("fer-ablate")
            if there != version:
                problem = f"its fer_ablate is another version ({there}, here {version})"
        except Exception as error:  # whatever is wrong with an installation there
            problem = f"fer_ablate cannot be imported there ({type(error).__name__}: {error})"
        if problem:
            import ray

            return ray.get_runtime_context().get_node_id(), problem
        return getattr(functions, name)(*arguments)

    return call


@cache
def _task() -> Any:
    return ray.remote(_by_value())


@cache
def _resident() -> Any:
    call = _by_value()

    class Resident:
        def call(self, version: str, name: str, *arguments: Any) -> Any:
            return call(version, name, *arguments)

    return ray.remote(Resident)


@cache
def _version() -> str:
    return importlib.metadata.version("fer-ablate")


def remote_call(options: Mapping[str, Any], name: str, *arguments: Any) -> Any:
    """Call a function of `ray_node` with these options of Ray's; returns the reference of what it returns.

    That is a pair of the node's id and the reason where the package is missing or another version; all functions return something
    else.
    """
    return _task().options(**options).remote(_version(), name, *arguments)


def connect(settings: Mapping[str, Any]) -> None:
    """Connect this process to a cluster, or start Ray on this machine, unless that was done before.

    Args:
        settings: arguments of `ray.init`.

    Raises:
        UserError: a password was typed, and this version of Ray would show it to everybody on the cluster.
    """
    if not ray.is_initialized():
        _hide_command()
        ray.init(**settings)


def _hide_command() -> None:
    """Leave passwords out of the command of this process: Ray reads it from the system, keeps it and shows it on all nodes."""
    typed = " ".join(sys.orig_argv)
    if hide(typed) == typed:
        return
    set_title = getattr(ray._raylet, "setproctitle", None)  # with which Ray names its own processes
    if set_title is None:
        raise UserError(
            "This version of Ray shows typed commands to everybody on the cluster. Give the password in the environment instead, "
            "as in MLFLOW_TRACKING_URI."
        )
    set_title(hide(typed))


@dataclass(frozen=True)
class Node:
    """A node that is there.

    Args:
        id: Ray's.
        host: its name.
        resources: name -> amount, such as `CPU`.
    """

    id: str
    host: str
    resources: Mapping[str, float]

    def holds(self, needed: Mapping[str, float]) -> bool:
        """Whether it has these resources at all, used or not."""
        return all(self.resources.get(name, 0.0) >= amount for name, amount in needed.items())


def nodes() -> list[Node]:
    """The nodes that are there now."""
    found = cast(list[dict[str, Any]], ray.nodes())  # type: ignore[no-untyped-call]
    return [Node(one["NodeID"], one["NodeManagerHostname"], one["Resources"]) for one in found if one["Alive"]]


class Nodes:
    """The nodes of a cluster, and which of them get no runs.

    Args:
        named: called once with a sentence about each node that gets no runs.
        needed: resources of a run: a node without them is not looked at.
    """

    def __init__(self, named: Callable[[str], None], needed: Mapping[str, float]) -> None:
        self._named, self.needed = named, needed
        self.unfit: dict[str, str] = {}
        self.here: list[Node] = []
        self._residents: dict[str, Any] = {}

    def look(self) -> None:
        """Look again which nodes with the resources of a run are there."""
        self.here = [one for one in nodes() if one.holds(self.needed)]

    def ask(self, node: str, name: str, *arguments: Any) -> Any:
        """Call a function of `ray_node` on this node beside the runs, see `remote_call`."""
        if node not in self._residents:
            # An actor, since Ray ends idle processes of tasks within a second, and to start one takes seconds.
            place = NodeAffinitySchedulingStrategy(node, soft=False)
            self._residents[node] = _resident().options(num_cpus=0, scheduling_strategy=place).remote()
        return self._residents[node].call.remote(_version(), name, *arguments)

    def dismiss(self, node: str) -> None:
        """Let the next question to this node start another process there, since the present one does not answer any more."""
        self._residents.pop(node, None)

    def host(self, node: str) -> str:
        """The name of a node's machine, with the beginning of the node's id."""
        found = next((f"{one.host} " for one in self.here if one.id == node), "")
        return f"{found}({node[:8]})"

    def exclude(self, node: str, problem: str) -> None:
        """Give no more runs to a node."""
        if node not in self.unfit:
            self.unfit[node] = f"{self.host(node)}: {problem}"
            self._named(f"the Ray node {self.host(node)} is given no runs: {problem}")

    def left_for(self, excluded: Iterable[str]) -> bool:
        """Whether a run that these nodes cannot train may be trained by another one, or by one that may yet join."""
        kept_away = {*self.unfit, *excluded}
        return not self.here or any(one.id not in kept_away for one in self.here)

    def selector(self, excluded: Iterable[str]) -> dict[str, str]:
        """Ray's selector of the nodes that may train a run; empty if all may."""
        kept_away = sorted({*self.unfit, *excluded})
        return {NODE_ID: f"!in({','.join(kept_away)})"} if kept_away else {}


def needed_by(options: Mapping[str, Any]) -> dict[str, float]:
    """The resources of a task with these options of Ray's."""
    plain = {"CPU": options.get("num_cpus", 1), "GPU": options.get("num_gpus", 0), **(options.get("resources") or {})}
    return {name: float(amount or 0) for name, amount in plain.items() if amount}


def ready(references: Sequence[Any], seconds: float) -> list[Any]:
    """Those that are there, after at most so many seconds without any."""
    return list(ray.wait(list(references), num_returns=1, timeout=seconds)[0]) if references else []
