"""Every run of a study as a checked config with its key; nothing is trained before all of them are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fer_ablate.config.compose import flat, plain, to_config
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.key import code_digest, run_key
from fer_ablate.config.repeats import Repeat, repeat_of, repeats
from fer_ablate.config.schema import Config
from fer_ablate.config.study_rows import FOLD_KEYS, Row, waves
from fer_ablate.data.load import load_faces
from fer_ablate.errors import Fault, FaultyConfigError
from fer_ablate.study.faults import content_faults, study_faults
from fer_ablate.study.spec import Asked
from fer_ablate.tracking.disk.starting import resolve_start
from fer_ablate.training.assembly import role_set


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Args:
        row: that it belongs to.
        config: resolved and free of faults, with the row's label as its name.
        key: of the run.
        data_digest, code_digest: what the key is made from, beside the config.
        changed: every leaf that differs from the baseline's config -> its value.
        factor: value of the study's swept key.
        start_key: key of the run whose weights this one starts with, if that is a row of the study.
        notes: what a person should know about its images and their roles, a sentence each.
    """

    row: Row
    config: Config
    key: str
    data_digest: str
    code_digest: str
    changed: dict[str, str] = field(default_factory=dict)
    factor: float | str | None = None
    start_key: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def overrides(self) -> tuple[str, ...]:
        """What one would type to get this run alone."""
        data = self.config.data
        folds = (f"data.folds={data.folds}", f"data.fold={data.fold}") if data.folds is not None else ()
        return (*self.row.overrides, f"seed={self.config.seed}", *folds)

    @property
    def repeat(self) -> Repeat:
        """Its seed, and its fold if it has one."""
        return repeat_of(self.config)

    @property
    def name(self) -> str:
        """For people: `-1 Conv, seed 0`, or `-1 Conv, seed 0, fold 3`."""
        return f"{self.row.label}, {self.repeat}"


def compose_cells(asked: Asked, config_dir: Path | None = None, tell: Callable[[float], None] | None = None) -> list[Cell]:
    """Compose and check every row for every seed, and every fold if there are any.

    Args:
        asked: rows, seeds and folds.
        config_dir: what was given as `--config-dir`.
        tell: told the finished fraction.

    Raises:
        FaultyConfigError: with every fault of every row.
        UserError: the images cannot be read, or do not fit.
    """
    composed, faults = {}, {}
    for number, row in enumerate(asked.rows):
        tree, found = _checked(row, asked, config_dir)
        composed[row.label], faults[row.label] = tree, found
        if tell is not None:
            tell((number + 1) / len(asked.rows) * 0.8)
    if any(faults.values()):
        raise FaultyConfigError(_told_once(faults))
    return _keyed(asked, {label: tree for label, tree in composed.items() if tree is not None})


def _checked(row: Row, asked: Asked, config_dir: Path | None) -> tuple[DictConfig | None, list[Fault]]:
    diagnosis = diagnose(_last_of_each(row.overrides), config_dir)
    if diagnosis.faults or diagnosis.tree is None:
        return None, list(diagnosis.faults)
    faults = content_faults(diagnosis, asked.typed)
    return diagnosis.tree, faults or study_faults(to_config(diagnosis.tree), asked.study)


def _last_of_each(overrides: Sequence[str]) -> list[str]:
    """Of several words for one key the last: Hydra refuses two choices of one group, and later words are nearer to the person."""
    return list({word.lstrip("+").split("=", 1)[0]: word for word in overrides}.values())


def _told_once(faults: dict[str, list[Fault]]) -> list[Fault]:
    """Faults under the labels of their rows; those of all rows once and without."""
    rows_of_fault: dict[Fault, list[str]] = {}
    for label, found in faults.items():
        for fault in found:
            rows_of_fault.setdefault(fault, []).append(label)
    told = []
    for fault, labels in rows_of_fault.items():
        if len(labels) == len(faults):
            told.append(fault)
        else:
            told.append(replace(fault, key=f"{', '.join(f'[{label}]' for label in labels)} {fault.key}".strip()))
    return told


def _keyed(asked: Asked, trees: dict[str, DictConfig]) -> list[Cell]:
    known: dict[str, _Images] = {}
    cells: dict[tuple[str, Repeat], Cell] = {}
    seeds = {label: asked.seeds if asked.seeds is not None else (int(tree.seed),) for label, tree in trees.items()}
    wanted = {label: repeats(seeds[label], asked.folds) for label in trees}
    configs = {row.label: _configs(trees[row.label], row.label, wanted[row.label], asked) for row in asked.rows}
    reference = flat(plain(configs[asked.baseline][0]))
    for wave in waves(asked.rows):
        for row in wave:
            for repeat, config in zip(wanted[row.label], configs[row.label], strict=True):
                # A row starts from the weights of the same seed and fold: those of another have seen the tested images.
                start = cells.get((row.start_from, repeat)) if row.start_from else None
                cells[row.label, repeat] = _cell(row, config, reference, known, start, asked)
    return [cells[row.label, repeat] for row in asked.rows for repeat in wanted[row.label]]


def _configs(tree: DictConfig, label: str, wanted: Sequence[Repeat], asked: Asked) -> list[Config]:
    """The configs of one row, seed by seed and fold by fold."""
    first, last = _config(tree, label, wanted[0], asked), _config(tree, label, wanted[-1], asked)
    if plain(_repeated(first, wanted[-1])) == plain(last):  # nothing else depends on seed and fold; resolving again is slow
        return [_repeated(first, repeat) for repeat in wanted]
    return [_config(tree, label, repeat, asked) for repeat in wanted]


def _repeated(config: Config, repeat: Repeat) -> Config:
    """The same config for another seed and fold."""
    if repeat.fold is None:
        return replace(config, seed=repeat.seed)
    return replace(config, seed=repeat.seed, data=replace(config.data, fold=repeat.fold))


def _config(tree: DictConfig, label: str, repeat: Repeat, asked: Asked) -> Config:
    tree.seed = repeat.seed  # before interpolations are resolved, in case one asks for it
    if repeat.fold is not None:
        tree.data.folds, tree.data.fold = asked.folds, repeat.fold
    config = to_config(tree)
    if asked.from_file and not any(word.startswith("tracking.experiment=") for word in asked.typed):
        config.tracking.experiment = asked.name
    return replace(config, name=label, force=config.force or asked.study.force, study=None)


def _cell(
    row: Row, config: Config, reference: dict[str, Any], known: dict[str, "_Images"], start: Cell | None, asked: Asked
) -> Cell:
    identity = None
    if start is not None:
        config, identity = replace(config, init_from=start.key), start.key
    elif config.init_from is not None:
        identity = resolve_start(config.init_from, Path(config.runs_dir)).identity
    images, code = _images(config, known), code_digest(tuple(config.plugins))
    key = run_key(config, images.digest, code, identity)
    leaves = flat(plain(config))
    apart = ("name", "seed", *(FOLD_KEYS if asked.folds is not None else ()))
    changed = {name: str(value) for name, value in leaves.items() if reference.get(name) != value and name not in apart}
    value, start_key = _factor_value(row, leaves, asked.factor), start.key if start else None
    return Cell(row, config, key, images.digest, code, changed, value, start_key, images.notes)


@dataclass(frozen=True)
class _Images:
    """Digest of the images of a run, and what a person should know about them and their roles."""

    digest: str
    notes: tuple[str, ...]


def _images(config: Config, known: dict[str, _Images]) -> _Images:
    """Read once for all runs that share them; that they fit the network is seen on the way."""
    name = str(sorted(flat(plain(config)["data"]).items(), key=str))
    if name not in known:
        faces = load_faces(config.data)
        known[name] = _Images(faces.digest, role_set(config, faces).notes)
    return known[name]


def _factor_value(row: Row, leaves: dict[str, Any], factor: str | None) -> float | str | None:
    if factor is None:
        return None
    value = leaves.get(factor)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    typed = [word.split("=", 1)[1] for word in row.overrides if word.lstrip("+").split("=", 1)[0] == factor]
    return str(value) if value is not None else (typed[-1] if typed else row.label)
