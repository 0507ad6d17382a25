"""Files of the front of a search for several objectives: a study that trains these networks again, and one for each network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_ablate.config.compose import file_flags, plain
from fer_ablate.config.hydra_internals import dump_yaml
from fer_ablate.config.key import IRRELEVANT
from fer_ablate.config.multirun import GRID, SWEEPER
from fer_ablate.config.overrides import key_of, value_of
from fer_ablate.execution.search.plan import PreparedSearch
from fer_ablate.execution.search.structures import is_encoding, network_text, varies_stages
from fer_ablate.search.trials import SearchSummary, TrialRecord
from fer_ablate.shell import program, quoted
from fer_ablate.study.cells import Cell
from fer_ablate.tracking.disk.files import write_text

FRESH_SEEDS = 3
"""Number of seeds with which the networks of the front are trained again: the best of many trials are partly luck."""

PLAIN_NETWORK = "not searched"
"""Label of the row with the network that the search varied."""

NOT_REPEATED = ("seed", "name", "force", "search", "tracking.experiment")
"""Keys, and sections by their first part, that belong to the search and not to a run of one of its networks."""


@dataclass(frozen=True)
class Front:
    """Files of a front, and the commands that use them.

    Args:
        files: written ones.
        describe: prints the best network layer by layer; empty if the search varied no stages.
        train: trains the front with fresh seeds.
    """

    files: tuple[Path, ...]
    describe: str
    train: str


def cell_of(prepared: PreparedSearch, trial: TrialRecord) -> Cell:
    """The run of a trial, composed again."""
    return prepared.compose(_label(trial), prepared.space.words(trial.params))


def repeated_words(words: Sequence[str]) -> list[str]:
    """The overrides of a search that hold for a run of one of its networks as well."""
    return [word for word in words if not _is_of(key_of(word), NOT_REPEATED)]


def write_front(prepared: PreparedSearch, summary: SearchSummary, cells: Sequence[Cell]) -> Front:
    """Write the study of the front, and if stages were searched a file for each network, to the search's folder.

    Args:
        prepared: the search.
        summary: with the front in `best`.
        cells: of the front, in the same order.
    """
    file = prepared.folder / "study" / f"{prepared.plan.name}-front.yaml"
    words = [word for word in repeated_words(prepared.space.fixed) if not is_encoding(key_of(word))]
    # Only a command may allow the code of plugins, a study's file cannot.
    places = [word for word in words if _is_of(key_of(word), (*IRRELEVANT, "plugins"))]
    base = [word for word in words if word not in places]
    structures = varies_stages(prepared.plan.space)
    train = _command(prepared, file, ["-m"], [f"study={file.stem}", *places])
    study = {
        "source": f"search {prepared.plan.name}",
        "base": base,
        "seeds": [prepared.config.seed + number for number in range(1, FRESH_SEEDS + 1)],
        "columns": list(dict.fromkeys([*(one for one in summary.objectives if one.startswith("val/")), "test/acc"])),
        "rows": [
            *([{"label": PLAIN_NETWORK}] if structures else []),
            *({"label": cell.row.label, "overrides": _own_words(cell, words)} for cell in cells),
        ],
    }
    objectives = " and ".join(summary.objectives)
    head = f"# The front of the search {prepared.plan.name}: trials that no other equals or beats in {objectives}."
    files = [_write(file, [head, f"# Run: {train}"], study)]
    if structures:
        experiment = next((value_of(word) for word in base if key_of(word) == "experiment"), None)
        files += [_write_network(prepared, trial, cell, experiment) for trial, cell in zip(summary.best, cells, strict=True)]
    # The file of the network has its own experiment and model.
    allowed = [word for word in places if key_of(word) == "plugins"]
    others = [*allowed, *(word for word in base if key_of(word) != "experiment" and not _is_of(key_of(word), ("model",)))]
    describe = _command(prepared, files[1], ["describe"], [f"experiment={files[1].stem}", *others]) if structures else ""
    return Front(tuple(files), describe, train)


def _write_network(prepared: PreparedSearch, trial: TrialRecord, cell: Cell, experiment: str | None) -> Path:
    """A file that chooses the network by `experiment=trial_012`, on top of the experiment that the search was begun with."""
    name = _label(trial).replace(" ", "_")
    # In a folder of the user's, networks of several searches may meet.
    stem = name if prepared.config_dir is None else f"{prepared.plan.name}-{name}"
    file = prepared.folder / "experiment" / f"{stem}.yaml"
    head = [
        "# @package _global_",
        f"# Trial {trial.number}: {network_text(cell.config.model)}",
        f"# Run: {_command(prepared, file, [], [f'experiment={stem}'])}",
    ]
    # Without the sweeper, the mode and the list of keys of the search, `-m` with this file is a grid or a study again.
    content = {
        "defaults": [*([experiment] if experiment else []), {f"override /{SWEEPER}": GRID}],
        "hydra": {"mode": "RUN", "sweeper": {"params": None}},
    }
    return _write(file, head, {**content, "model": plain(cell.config)["model"]})


def _write(file: Path, head: Sequence[str], content: dict[str, Any]) -> Path:
    write_text(file, "\n".join([*head, dump_yaml(content)]))
    return file


def _own_words(cell: Cell, shared: Sequence[str]) -> list[str]:
    """The overrides of a trial that not all trials have."""
    return [word for word in repeated_words(cell.row.overrides) if word not in shared]


def _command(prepared: PreparedSearch, file: Path, verb: Sequence[str], words: Sequence[str]) -> str:
    """A command that uses a file of the search's folder, as a person types it."""
    config_dir = prepared.config_dir or prepared.folder
    flags = file_flags(prepared.config_dir) or ["--config-dir", str(prepared.folder)]
    command = program(*verb, *flags, *words)
    if prepared.config_dir is None:
        return command
    # Hydra takes one folder of the user's, and the search's experiment may stand in that one.
    goal = quoted(str(config_dir / file.parent.name))
    return f"mkdir -p {goal} && cp {quoted(str(file))} {goal} && {command}"


def _label(trial: TrialRecord) -> str:
    return f"trial {trial.number:03}"


def _is_of(key: str, names: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)
