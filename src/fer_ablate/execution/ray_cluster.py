"""The nodes of a Ray cluster: calls on one of them, which of them can train, and which get no runs and why."""

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fer_ablate.execution.ray_node import Expected, Survey
from fer_ablate.tracking.disk.log import first_line

ANSWER_SECONDS = 120.0
"""How long a node may take to say what it is good for: a process has to start there and import the package."""

NODE_ID = "ray.io/node-id"
"""Label that Ray itself gives to every node."""


def _by_value() -> Callable[..., Any]:
    # Defined within a function: Ray then sends its code, which also runs where this package is not installed.
    def call(name: str, *arguments: Any) -> Any:
        import importlib

        try:
            functions = importlib.import_module("fer_ablate.execution.ray_node")
        except Exception as error:  # whatever is wrong with an installation there
            import ray

            return {"node": ray.get_runtime_context().get_node_id(), "problem": f"{type(error).__name__}: {error}"}
        return getattr(functions, name)(*arguments)

    return call


def remote_call(options: Mapping[str, Any], name: str, *arguments: Any) -> Any:
    """Call a function of `ray_node` with these options of Ray's; returns the reference of what it returns.

    That is a dict with `node` and `problem` where the package cannot be imported.
    """
    return ray.remote(_by_value()).options(**options).remote(name, *arguments)


def on_node(node: str, name: str, *arguments: Any) -> Any:
    """Call a function of `ray_node` on this node beside the runs; returns the reference of what it returns."""
    place = NodeAffinitySchedulingStrategy(node, soft=False)
    return remote_call({"num_cpus": 0, "max_retries": 0, "scheduling_strategy": place}, name, *arguments)


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
    """What is known about the nodes of a cluster.

    Args:
        expected: of every node.
        named: called once with a sentence about each node that gets no runs, or none of some run.
        needed: resources of a run: a node without them is not looked at.
    """

    def __init__(self, expected: Expected, named: Callable[[str], None], needed: Mapping[str, float]) -> None:
        self.expected, self._named, self._needed = expected, named, needed
        self._surveys: dict[str, Survey] = {}
        self._unfit: dict[str, str] = {}

    def look(self) -> list[str]:
        """Ask nodes that have joined what they are good for, and wait for their answers.

        Returns:
            Ids of nodes that turned out to be unfit.
        """
        new = [one for one in nodes() if one.id not in self._surveys and one.id not in self._unfit and one.holds(self._needed)]
        asked = [(one, on_node(one.id, "survey", pickle.dumps(self.expected))) for one in new]
        unfit = []
        for node, reference in asked:
            found = _answer(reference)
            if isinstance(found, Survey):
                self._surveys[node.id] = found
            problem = found.unfit if isinstance(found, Survey) else found
            if problem and self.exclude(node.id, node.host, problem):
                unfit.append(node.id)
        return unfit

    def exclude(self, node: str, host: str, problem: str) -> bool:
        """Give no more runs to a node; returns whether that is new."""
        if node in self._unfit:
            return False
        self._unfit[node] = f"{host} ({node[:8]}): {problem}"
        self._named(f"the Ray node {host} ({node[:8]}) is given no runs: {problem}")
        return True

    @property
    def unfit(self) -> dict[str, str]:
        """Id -> name and reason, of nodes that get no runs."""
        return self._unfit

    @property
    def all_shared(self) -> bool:
        """Whether all nodes can train and see the disk of the sweep."""
        return not self._unfit and all(survey.shared for survey in self._surveys.values())

    @property
    def apart(self) -> list[str]:
        """Ids of nodes that can train but do not see the disk of the sweep."""
        return [node for node, survey in self._surveys.items() if not survey.shared and node not in self._unfit]

    def left_for(self, excluded: Iterable[str]) -> bool:
        """Whether a node that is there may train a run that these nodes cannot train."""
        kept_away = {*self._unfit, *excluded}
        return any(one.id not in kept_away and one.holds(self._needed) for one in nodes())

    def selector(self, excluded: Iterable[str]) -> dict[str, str]:
        """Ray's selector of the nodes that may train a run; empty if all may."""
        kept_away = sorted({*self._unfit, *excluded})
        return {NODE_ID: f"!in({','.join(kept_away)})"} if kept_away else {}


def needed_by(options: Mapping[str, Any]) -> dict[str, float]:
    """The resources of a task with these options of Ray's."""
    plain = {"CPU": options.get("num_cpus", 1), "GPU": options.get("num_gpus", 0), **(options.get("resources") or {})}
    return {name: float(amount or 0) for name, amount in plain.items() if amount}


def _answer(reference: Any) -> Survey | str:
    """What a node answered, or in words why it did not."""
    try:
        found = ray.get(reference, timeout=ANSWER_SECONDS)
    except GetTimeoutError:
        return f"no answer within {ANSWER_SECONDS:.0f} seconds"
    except RayError as error:
        return first_line(error)
    return found if isinstance(found, Survey) else f"fer_ablate cannot be imported there ({found['problem']})"


def ready(references: Sequence[Any], seconds: float) -> list[Any]:
    """Those that are there, after at most so many seconds without any."""
    return list(ray.wait(list(references), num_returns=1, timeout=seconds)[0]) if references else []
