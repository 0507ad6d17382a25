"""Which overrides are at fault and why, each on its own, with the nearest name that would have worked."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.config.compose import composed, composer, flat
from fer_ablate.errors import Fault, choices

FOLDERED = ("study",)
"""Groups whose files lie in folders, one for each document."""


EXTRAS = {
    "ray": "Install it: pip install 'fer-ablate[ray]'.",
    "submitit_local": "Install it: pip install 'fer-ablate[slurm]'.",
    "submitit_slurm": "Install it: pip install 'fer-ablate[slurm]'.",
}
"""Launchers that come with an extra."""


@dataclass(frozen=True)
class Diagnosis:
    """Faults of the overrides, the overrides without any, and the tree these compose (None if not even they do)."""

    faults: tuple[Fault, ...]
    sound: tuple[str, ...]
    tree: DictConfig | None


def diagnose(overrides: Sequence[str], config_dir: Path | None = None) -> Diagnosis:
    """Try every override on its own; sweeps such as `seed=0,1,2` value by value.

    Args:
        overrides: as typed on the command line, without flags.
        config_dir: what was given as `--config-dir`.
    """
    parsed, faults = _parse(overrides)
    with composer(config_dir):
        if not faults and not any(one.is_sweep_override() for one in parsed):
            texts = [str(one.input_line) for one in parsed]
            tree, trouble = _try(texts)
            if not trouble:
                return Diagnosis((), tuple(texts), tree)  # at once: composing per override takes a tenth of a second each
        composed()  # so that a broken conf/ is told apart from a broken override
        groups = [one for one in parsed if _options(one.key_or_group) and not one.is_delete()]
        keys = [one for one in parsed if one not in groups]
        sound: list[str] = []
        for override in groups:
            found = _group_faults(override)
            faults += found
            sound += [] if found else [_first_value(override)]
        base, trouble = _try(sound)
        faults += trouble
        group_choices = list(sound)
        # Those with one value are tried together; only where that goes wrong is each tried on its own, to tell which.
        single = [str(one.input_line) for one in keys if not one.is_sweep_override()]
        fine = base is not None and not _try([*group_choices, *single])[1]
        for override in keys if base is not None else ():
            found = [] if fine and not override.is_sweep_override() else _key_faults(override, base, group_choices)
            faults += found
            sound += [] if found else [_first_value(override)]
        tree, trouble = _try(sound)
        faults += [] if faults else trouble
    return Diagnosis(tuple(faults), tuple(sound), tree)


def _parse(overrides: Sequence[str]) -> tuple[list[Override], list[Fault]]:
    parser, parsed, faults = OverridesParser.create(), [], []
    for text in overrides:
        try:
            parsed += parser.parse_overrides([text])
        except HydraException as error:
            remedy = "Write key=value without blanks around '='; quote values with brackets or commas for the shell."
            faults.append(Fault("", f"'{text}' is not an override: {_first_line(error)}", remedy))
    return parsed, faults


def _try(overrides: Sequence[str]) -> tuple[DictConfig | None, list[Fault]]:
    try:
        return composed(overrides), []
    except (HydraException, OmegaConfBaseException) as error:
        return None, [Fault("", _first_line(error), _cause(error))]


def _group_faults(override: Override) -> list[Fault]:
    known = _options(override.key_or_group)
    given = [name for value in _values(override) for name in (value if isinstance(value, list) else [value])]
    return [
        Fault(
            override.key_or_group, f"there is no '{value}' in this group.", EXTRAS.get(str(value)) or choices(str(value), known)
        )
        for value in given
        if value is not None and str(value) not in known
    ]


def _key_faults(override: Override, base: DictConfig | None, groups: Sequence[str]) -> list[Fault]:
    key = override.key_or_group
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        return []
    if base is not None and not (override.is_add() or override.is_force_add() or _has(base, key)):
        return [_unknown(key, base)]
    faults = []
    for value in _value_texts(override):
        _, trouble = _try([*groups, value])
        faults += [Fault(key, f"{value.split('=', 1)[-1]} does not fit. {fault.remedy or fault.problem}") for fault in trouble]
    return faults


def _unknown(key: str, base: DictConfig) -> Fault:
    """A key that does not exist: the likeliest one that does, and its neighbours."""
    container = OmegaConf.to_container(base, resolve=False)
    leaves = sorted({part for leaf in flat(container) for part in _prefixes(leaf)} | set(_groups()))
    name = key.rsplit(".", 1)[-1]
    same_name = [leaf for leaf in leaves if leaf.rsplit(".", 1)[-1] == name]
    near = same_name or get_close_matches(key, leaves, n=1, cutoff=0.6)
    parent = key.rpartition(".")[0]
    siblings = [leaf for leaf in leaves if leaf.rpartition(".")[0] == parent]
    hint = f"Did you mean '{near[0]}'? " if near else ""
    listed = (
        f"Keys there: {', '.join(leaf.rpartition('.')[2] for leaf in siblings)}." if siblings else "See --cfg job for all keys."
    )
    return Fault(key, "there is no such key or group.", hint + listed)


def _prefixes(leaf: str) -> list[str]:
    parts = leaf.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _has(tree: Any, key: str) -> bool:
    node: Any = tree
    for part in key.split("."):
        if OmegaConf.is_list(node) and part.isdigit():
            part_key: Any = int(part)
            if part_key >= len(node):
                return False
        elif OmegaConf.is_dict(node) and part in node.keys():  # noqa: SIM118 (`in node` hides missing values)
            part_key = part
        else:
            return False
        node = node._get_node(part_key)
    return True


def _loader() -> Any:
    return GlobalHydra.instance().config_loader()


def _options(group: str) -> list[str]:
    """Files of a config group, those of its folders as `folder/file`; empty if there is no such group."""
    if not group:
        return []
    files = list(_loader().get_group_options(group, results_filter=ObjectType.CONFIG))
    folders = _loader().list_groups(group) if group in FOLDERED else []
    return files + [f"{folder}/{name}" for folder in folders for name in _loader().get_group_options(f"{group}/{folder}")]


def _groups() -> list[str]:
    return [name for name in _loader().list_groups("") if name != "hydra"]


def _values(override: Override) -> list[Any]:
    if override.is_delete():
        return []
    return list(override.sweep_iterator()) if override.is_discrete_sweep() else [override.value()]


def _value_texts(override: Override) -> list[str]:
    """`key=value` for every value of a sweep, for an interval its ends; the override itself if it is none."""
    prefix = str(override.input_line).split("=", 1)[0]
    if override.is_interval_sweep():
        interval = override.value()
        assert isinstance(interval, IntervalSweep)
        return [f"{prefix}={interval.start}", f"{prefix}={interval.end}"]
    if override.is_discrete_sweep():
        return [f"{prefix}={value}" for value in override.sweep_string_iterator()]
    return [str(override.input_line)]


def _first_value(override: Override) -> str:
    texts = _value_texts(override)
    return texts[0] if texts else str(override.input_line)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _cause(error: BaseException) -> str:
    """What OmegaConf said below Hydra's wrapping, without its technical lines."""
    lines = str(error.__cause__).splitlines() if error.__cause__ else str(error).strip().splitlines()[1:]
    return " ".join(
        line.strip() for line in lines if not line.strip().startswith(("full_key:", "object_type=", "reference_type="))
    )
