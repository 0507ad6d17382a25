"""Every run of a study as a checked config with its key; nothing is trained before all of them are checked."""

import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from fer_ablate.config.choices import Roles
from fer_ablate.config.compose import flat, plain, to_config
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.environment import recorded
from fer_ablate.config.excluded_rows import exclusion_of
from fer_ablate.config.overrides import key_of, value_of
from fer_ablate.config.schema import Config, DataConfig
from fer_ablate.config.study_rows import EXPERIMENT_KEY, FOLD_KEYS, Repeat, Row, repeat_of, repeats, waves
from fer_ablate.data.faces import FaceSet, Rows
from fer_ablate.data.load import load_faces
from fer_ablate.data.roles import official_rows
from fer_ablate.errors import Fault, FaultyConfigError, choices
from fer_ablate.study.average_faults import different_tests
from fer_ablate.study.faults import class_faults, config_faults, study_faults
from fer_ablate.study.pixels import images_digest
from fer_ablate.study.spec import StudySpec, last_of_each_key
from fer_ablate.tracking.disk.lookup import resolve_start
from fer_ablate.training.identity import RunIdentity, identity_of_repeat, run_identity
from fer_ablate.training.protocol import protocol
from fer_ablate.training.role_set import assigned_rows
from fer_ablate.training.start import Start, output_notes

REPEAT_IN_INTERPOLATION = re.compile(rb"\$\{[^}]*(seed|fold)")


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Args:
        row: row of the run.
        config: resolved and free of faults, with the row's label as its name.
        identity: key of the run, and what it is made from.
        changed: every leaf that differs from the baseline's config -> its value.
        factor: value of the study's swept key.
        start_key: key of the run whose weights this one starts with, if that is a row of the study.
        notes: about its images and their roles, for people; a sentence each.
        protocol: how the run is evaluated, as its result will state it.
        classes: names of the classes of its images.
        tested: part that is scored (`val`, `test`, `public`, `private`) -> digest of its images, whatever their order and labels.
    """

    row: Row
    config: Config
    identity: RunIdentity
    changed: dict[str, str] = field(default_factory=dict)
    factor: float | str | None = None
    start_key: str | None = None
    notes: tuple[str, ...] = ()
    protocol: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    tested: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Key of the run."""
        return self.identity.key

    @property
    def overrides(self) -> tuple[str, ...]:
        """The words that train this run alone."""
        data = self.config.data
        folds = (f"data.folds={data.folds}", f"data.fold={data.fold}") if data.folds is not None else ()
        return (*self.row.overrides, f"seed={self.config.seed}", *folds)

    @property
    def repeat(self) -> Repeat:
        """The seed, and the fold if there is one."""
        return repeat_of(self.config)

    @property
    def name(self) -> str:
        """For people: `-1 Conv, seed 0`, or `-1 Conv, seed 0, fold 3`."""
        return f"{self.row.label}, {self.repeat}"


def compose_cells(
    spec: StudySpec, config_dir: Path | None = None, report_progress: Callable[[float], None] | None = None
) -> list[Cell]:
    """Compose and check every row for every seed, and for every fold if there are any.

    Args:
        spec: rows, seeds and folds.
        config_dir: what was given as `--config-dir`.
        report_progress: called with the finished fraction.

    Raises:
        FaultyConfigError: with every fault of every row.
        UserError: the images cannot be read, or do not fit.
    """
    configs: dict[str, _RowConfigs] = {}
    faults: dict[str, list[Fault]] = {}
    trained = [row for row in spec.rows if not row.average_of]
    for number, row in enumerate(trained):
        configs[row.label], faults[row.label] = _row_configs(row, spec, config_dir)
        if report_progress is not None:
            # The rest of the bar is left to the keys, for which images may have to be read.
            report_progress((number + 1) / len(trained) * 0.8)
    if any(faults.values()):
        raise FaultyConfigError([*_by_rows(faults), *_way_out(spec, trained, faults)])
    _refuse_several_places([config for found in configs.values() for config in found.configs])
    cells = _keyed(spec, trained, configs)
    of_tests = different_tests(spec.rows, {cell.row.label: (cell.config, cell.identity.data_digest) for cell in cells})
    of_classes = class_faults(spec.study, spec.rows, {cell.row.label: cell.classes for cell in cells})
    if found := [*_factor_faults(spec, cells), *of_tests, *of_classes]:
        raise FaultyConfigError(found)
    return cells


def _refuse_several_places(configs: Sequence[Config]) -> None:
    """Refuse runs in several folders or experiments: a table finds its runs in one place."""
    places = {"runs_dir": [one.runs_dir for one in configs], EXPERIMENT_KEY: [one.tracking.experiment for one in configs]}
    faults = []
    for key, given in places.items():
        if len(different := dict.fromkeys(given)) > 1:
            listed = ", ".join(list(different)[:3])
            faults.append(Fault(key, f"the runs of a study have {len(different)} of them: {listed}.", "Give all of them one."))
    if faults:
        raise FaultyConfigError(faults)


@dataclass(frozen=True)
class _RowConfigs:
    """Configs of a row, seed by seed and fold by fold; `uniform` if they differ in nothing else."""

    configs: tuple[Config, ...] = ()
    uniform: bool = True


def _row_configs(row: Row, spec: StudySpec, config_dir: Path | None) -> tuple[_RowConfigs, list[Fault]]:
    """The configs of a row; and its faults, which leave no configs."""
    diagnosis = diagnose(last_of_each_key(row.overrides), config_dir)
    tree = diagnosis.tree
    if diagnosis.faults or tree is None:
        return _RowConfigs(), list(diagnosis.faults)
    # Resolving takes long, so it is done once, unless an interpolation such as data.split_seed=${seed} needs it.
    # Pickled, texts stand as they are; walking through the tree takes twenty times longer.
    uniform = not REPEAT_IN_INTERPOLATION.search(pickle.dumps(tree))
    try:
        repeated = repeats(spec.seeds if spec.seeds is not None else (to_config(tree).seed,), spec.folds)
        resolved = [_resolved(tree, row.label, repeat, spec) for repeat in (repeated[:1] if uniform else repeated)]
    except FaultyConfigError as error:
        return _RowConfigs(), list(error.faults)
    for config in resolved:
        if faults := config_faults(config, spec.typed) or study_faults(config, spec.study):
            return _RowConfigs(), faults
    configs = (_of_repeat(resolved[0], repeat) for repeat in repeated) if uniform else resolved
    return _RowConfigs(tuple(configs), uniform), []


def _by_rows(faults: dict[str, list[Fault]]) -> list[Fault]:
    """Each fault once, with the labels of its rows before its key; without labels where all rows have it."""
    rows_of_fault: dict[Fault, list[str]] = {}
    for label, found in faults.items():
        for fault in found:
            rows_of_fault.setdefault(fault, []).append(label)
    return [
        fault
        if len(labels) == len(faults)
        else replace(fault, key=f"{', '.join(f'[{label}]' for label in labels)} {fault.key}".strip())
        for fault, labels in rows_of_fault.items()
    ]


def _way_out(spec: StudySpec, rows: Sequence[Row], faults: Mapping[str, Sequence[Fault]]) -> list[Fault]:
    """How to leave out the combinations of a study that cannot be."""
    impossible = [row.overrides for row in rows if faults[row.label]]
    possible = [row.overrides for row in rows if not faults[row.label]]
    if not (spec.study.crossed and impossible and possible):
        return []
    listed = exclusion_of(impossible, possible)
    count = f"{len(impossible)} of {len(rows)} rows cannot be."
    return [Fault("study.exclude", count, f"Leave them out in the study's file: exclude: {listed}")]


def _resolved(tree: DictConfig, label: str, repeat: Repeat, spec: StudySpec) -> Config:
    tree.seed = repeat.seed  # before interpolations are resolved, which may refer to it
    if repeat.fold is not None:
        tree.data.folds, tree.data.fold = spec.folds, repeat.fold
    config = to_config(tree)
    if spec.from_file and not any(key_of(word) == EXPERIMENT_KEY for word in (*spec.study.base, *spec.typed)):
        config.tracking.experiment = spec.name
    return replace(config, name=label, force=config.force or spec.switches.force)


def _of_repeat(config: Config, repeat: Repeat) -> Config:
    """The same config for another seed and fold."""
    if repeat.fold is None:
        return replace(config, seed=repeat.seed)
    return replace(config, seed=repeat.seed, data=replace(config.data, fold=repeat.fold))


def _keyed(spec: StudySpec, rows: Sequence[Row], configs: dict[str, _RowConfigs]) -> list[Cell]:
    shared = _Shared()
    cells: dict[tuple[str, Repeat], Cell] = {}
    # What a row changes is what differs from the baseline; a baseline that averages others has no config.
    reference = flat(plain(configs[spec.baseline if spec.baseline in configs else rows[0].label].configs[0]))
    # A row can have a key only when the row it starts from has one.
    for wave in waves(rows):
        for row in wave:
            first: Cell | None = None
            for config in configs[row.label].configs:
                # A row starts from the weights of the same seed and fold: those of another have seen the tested images.
                repeat = repeat_of(config)
                start = cells.get((row.start_from, repeat)) if row.start_from else None
                if first is not None and configs[row.label].uniform:
                    cell = _cell_of_repeat(first, config, shared, start)
                else:
                    cell = first = _cell(row, config, reference, shared, start, spec)
                cells[row.label, repeat] = cell
    return [cells[row.label, repeat_of(config)] for row in rows for config in configs[row.label].configs]


def _cell(row: Row, config: Config, reference: dict[str, Any], shared: "_Shared", start: Cell | None, spec: StudySpec) -> Cell:
    config, weights = _started(config, shared, start)
    faces = shared.faces(config.data, config.plugins)
    identity = run_identity(config, faces.digest, weights, faces.classes)
    leaves = flat(plain(config))
    apart = ("name", "seed", *(FOLD_KEYS if spec.folds is not None else ()))
    changed = {
        name: recorded(name, value) for name, value in leaves.items() if reference.get(name) != value and name not in apart
    }
    preset, notes, tested = shared.roles(config, faces)
    return Cell(
        row,
        config,
        identity,
        changed,
        factor=_factor_value(row, leaves, spec.factor),
        start_key=start.key if start else None,
        notes=(*notes, *output_notes(weights, faces.classes)),
        protocol=protocol(config, faces.size, preset, faces.groups is not None),
        classes=faces.classes,
        tested=tested,
    )


def _cell_of_repeat(first: Cell, config: Config, shared: "_Shared", start: Cell | None) -> Cell:
    """The cell of another seed or fold of a row, made from its first one, since they differ in nothing else."""
    config, weights = _started(config, shared, start)
    repeat: dict[str, Any] = {"seed": config.seed} | ({"data.fold": config.data.fold} if config.data.folds is not None else {})
    identity = identity_of_repeat(first.identity, repeat, weights.identity if weights is not None else None)
    notes = first.notes if config.data.folds is None else shared.roles(config, shared.faces(config.data, config.plugins)).notes
    return replace(first, config=config, identity=identity, start_key=start.key if start else None, notes=notes)


def _started(config: Config, shared: "_Shared", start: Cell | None) -> tuple[Config, Start | None]:
    """The config with the weights that it starts with, and these; None if they are drawn from the seed."""
    if start is not None:
        return replace(config, init_from=start.key), Start(Path(), start.key, start.classes)  # whose file is yet to come
    return config, shared.weights(config.init_from, Path(config.runs_dir)) if config.init_from is not None else None


class _Assigned(NamedTuple):
    """The preset of roles that was applied, notes for people, and `Cell.tested`."""

    preset: Roles
    notes: tuple[str, ...]
    tested: dict[str, str]


def _tested(data: DataConfig, faces: FaceSet, roles: Mapping[str, Rows]) -> dict[str, str]:
    if data.folds is not None:
        roles, official = {"test": faces.rows}, {}  # the folds together
    else:
        official = official_rows(faces)
    return {part: images_digest(faces, rows) for part, rows in {**roles, **official}.items() if part != "train"}


class _Shared:
    """What many cells have in common, and each command reads once: images, notes about them, and weights to start with."""

    def __init__(self) -> None:
        self._faces: dict[str, FaceSet] = {}
        self._roles: dict[str, _Assigned] = {}
        self._weights: dict[tuple[str, Path], Start] = {}

    def faces(self, data: DataConfig, plugins: Sequence[str]) -> FaceSet:
        """The images of a run; which fold is tested changes none of them."""
        # As text, since the dataclasses of a config can be changed and so cannot be keys of a dictionary.
        key = repr(replace(data, fold=0))
        if key not in self._faces:
            self._faces[key] = load_faces(data, plugins=plugins)
        return self._faces[key]

    def roles(self, config: Config, faces: FaceSet) -> "_Assigned":
        """How images are assigned to roles, which also shows whether they fit."""
        key = repr(config.data)
        if key not in self._roles:
            given, notes = assigned_rows(config, faces)
            self._roles[key] = _Assigned(given.preset, notes, _tested(config.data, faces, given.rows))
        return self._roles[key]

    def weights(self, init_from: str, runs_dir: Path) -> Start:
        """The weights that `init_from` names."""
        if (init_from, runs_dir) not in self._weights:
            self._weights[init_from, runs_dir] = resolve_start(init_from, runs_dir)
        return self._weights[init_from, runs_dir]


def _factor_faults(spec: StudySpec, cells: Sequence[Cell]) -> list[Fault]:
    """Faults of `study.factor`: it is a key of the runs, or a group that rows choose."""
    factor = spec.study.factor
    if factor is None:
        return []
    of_rows = dict.fromkeys(key_of(word) for row in spec.rows for word in row.overrides)
    known = [*of_rows, *flat(plain(cells[0].config))]
    if factor in known:
        return []
    near = get_close_matches(factor, known, n=5) or of_rows  # there are more keys than anybody would read
    return [Fault("study.factor", f"there is no key {factor}.", choices(factor, near))]


def _factor_value(row: Row, leaves: dict[str, Any], factor: str | None) -> float | str | None:
    if factor is None:
        return None
    value = leaves.get(factor)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    typed = [value_of(text) for text in row.overrides if key_of(text) == factor]
    return str(value) if value is not None else (typed[-1] if typed else row.label)
