"""Finds out which overrides of a command line are at fault, and names for each the nearest one that would work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Glob, IntervalSweep, ValueType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_ablate import shell
from fer_ablate.config.compose import composed, composer, flat, hydra_section, primary_name
from fer_ablate.config.conf_files import CONFIG_NAME
from fer_ablate.config.overrides import Override, ParsedOverride, parsed_overrides, quoted, value_of
from fer_ablate.config.schema import Config
from fer_ablate.errors import Fault, choices, first_line
from fer_ablate.extras import install_command

FOLDERED = ("study",)
"""Groups whose files are in folders, one for each document."""

SEARCHES = "hydra/sweeper=optuna"
"""The word that makes a search."""

EXTRAS = {"ray": f"Install it: {install_command('ray')}."}
"""Launcher that comes with an extra of the package -> how to install it."""


@dataclass(frozen=True)
class Diagnosis:
    """Result of `diagnose`.

    Args:
        faults: of all overrides.
        sound: the overrides without a fault, each with one value.
        tree: what the sound overrides compose; None if they do not.
    """

    faults: tuple[Fault, ...]
    sound: tuple[str, ...]
    tree: DictConfig | None


def diagnose(overrides: Sequence[str], config_dir: Path | None = None) -> Diagnosis:
    """Check every override, and every value of a sweep such as `seed=0,1,2`.

    Args:
        overrides: as typed on the command line, without flags.
        config_dir: what was given as `--config-dir`.
    """
    with composer(config_dir):
        parsed, faults = _parse(with_globs(overrides))
        if not faults and not any(one.is_sweep_override() for one in parsed):
            texts = [str(one.input_line) for one in parsed]
            tree, trouble = _try(texts)
            if not trouble and not any(map(_is_foreign, parsed)):
                # The usual case: each further composition takes a tenth of a second.
                return Diagnosis((), tuple(texts), tree)
        if primary_name() == CONFIG_NAME:
            composed()  # raises if conf/ itself is broken, for which no override is to blame
        # `hydra={...}` sets values of Hydra's own section, although there is a group of this name.
        groups = [one for one in parsed if _options(one.key_or_group) and not one.is_delete() and one.key_or_group != "hydra"]
        keys = [one for one in parsed if one not in groups]
        sound: list[str] = []
        for override in groups:
            found = _group_faults(override)
            faults += found
            sound += [] if found else [_first_value(override)]
        base, trouble = _try(sound)
        faults += trouble
        group_choices = list(sound)
        # Keys with one value are tried together first; only if that fails, each is tried alone to find the faulty ones.
        single = [str(one.input_line) for one in keys if not one.is_sweep_override()]
        fine = base is not None and not _try([*group_choices, *single])[1]
        for override in keys if base is not None else ():
            sure = fine and not override.is_sweep_override() and not _is_foreign(override)
            found = [] if sure else _key_faults(override, base, group_choices)
            faults += found
            sound += [] if found else [_first_value(override)]
        tree, trouble = _try(sound)
        faults += [] if faults else trouble
    return Diagnosis(tuple(faults), tuple(sound), tree)


def with_globs(overrides: Sequence[str]) -> list[str]:
    """Overrides with each `glob(...)` written out as the files of its group, in alphabetical order; needs `composer`."""
    return [_without_glob(text) if "glob(" in text else text for text in overrides]


def _without_glob(text: str) -> str:
    try:
        (override,) = parsed_overrides([text])
    except HydraException:
        return text  # `diagnose` says what is wrong with it
    if override.value_type is not ValueType.GLOB_CHOICE_SWEEP:
        return text
    names = cast(Glob, override.value()).filter(_options(override.key_or_group))
    return str(Override.parse(text).with_value(f"choice({','.join(map(quoted, names))})")) if names else text


def _parse(overrides: Sequence[str]) -> tuple[list[ParsedOverride], list[Fault]]:
    parsed, faults = [], []
    remedy = "Write key=value without blanks around '='; quote values with brackets or commas for the shell."
    for text in overrides:
        if not Override.parse(text).key:  # which Hydra takes for the choice of a group without a name
            faults.append(Fault("", f"'{text}' is not an override: it has no key.", remedy))
            continue
        try:
            (override,) = parsed_overrides([text])
        except HydraException as error:
            faults.append(Fault("", f"'{text}' is not an override: {first_line(error)}", _quoting(text) or remedy))
            continue
        if override.value_type is ValueType.GLOB_CHOICE_SWEEP:
            key, known = override.key_or_group, ", ".join(_options(override.key_or_group))
            listed = f"There are {known}." if known else "There is no such group."
            faults.append(Fault(key, f"{value_of(text)} matches no file of this group.", listed))
        else:
            parsed.append(override)
    return parsed, faults


def _quoting(text: str) -> str:
    """How to write an override whose value Hydra takes only in quotes; empty if quotes do not help."""
    typed = Override.parse(text)
    if not typed.value:
        return ""
    word = str(typed.with_value(quoted(typed.value)))
    try:
        parsed_overrides([word])
    except HydraException:
        return ""
    return f"If all of it is one value, write {shell.quoted(word)}."


def _try(overrides: Sequence[str]) -> tuple[DictConfig | None, list[Fault]]:
    try:
        return composed(overrides), []
    except (HydraException, OmegaConfBaseException, OSError) as error:  # an OSError for the name of a file that is too long
        return None, [Fault("", first_line(error), _cause(error))]


def _group_faults(override: ParsedOverride) -> list[Fault]:
    known = _options(override.key_or_group)
    given = [name for value in _values(override) for name in (value if isinstance(value, list) else [value])]
    return [
        Fault(
            override.key_or_group, f"there is no '{value}' in this group.", EXTRAS.get(str(value)) or choices(str(value), known)
        )
        for value in given
        if value is not None and str(value) not in known
    ]


def _key_faults(override: ParsedOverride, base: DictConfig | None, groups: Sequence[str]) -> list[Fault]:
    key = override.key_or_group
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        return _sweeper_faults(override, groups)
    if base is not None:
        tree = OmegaConf.to_container(base, resolve=False)
        if _is_foreign(override) or not (_adds(override) or _has(tree, key)):
            return [_unknown(key, tree)]
    faults = []
    for value in _value_texts(override):
        _, trouble = _try([*groups, value])
        faults += [Fault(key, f"{value_of(value)} does not fit. {fault.remedy or fault.problem}") for fault in trouble]
    return faults


def _sweeper_faults(override: ParsedOverride, groups: Sequence[str]) -> list[Fault]:
    """The fault of a key that the chosen sweeper does not have; `groups` are the choices of the command line."""
    key = str(override.key_or_group)
    if not key.startswith("hydra.sweeper.") or _adds(override):
        return []
    name, known, of_search = key.split(".")[2], _sweeper_keys(groups), _sweeper_keys([*groups, SEARCHES])
    if name in known:
        return []
    if name not in of_search:
        return [Fault(key, "there is no such key.", choices(name, dict.fromkeys((*known, *of_search))))]
    instead = "A grid leaves combinations out by `exclude` in a study's file. " if name in ("when", "exclude") else ""
    return [Fault(key, "is for searches alone, and these words make none.", f"{instead}Add {SEARCHES}, or leave it out.")]


def _sweeper_keys(groups: Sequence[str]) -> list[str]:
    """Keys of the sweeper that these choices of groups give; none if they do not compose."""
    last = {Override.parse(text).key: text for text in groups}
    try:
        section = hydra_section(list(last.values())).sweeper
    except (HydraException, OmegaConfBaseException, OSError):
        return []
    return [name for name in section if not name.startswith("_")] if isinstance(section, Mapping) else []


def _adds(override: ParsedOverride) -> bool:
    return bool(override.is_add() or override.is_force_add())


def _is_foreign(override: ParsedOverride) -> bool:
    """Whether an override adds a key that the schema does not have: Hydra would take a misspelt `+trainer.max_epoch=5`."""
    key = override.key_or_group
    if not _adds(override) or key.startswith(("hydra.", "hydra/")) or _options(key):
        return False
    section: Any = Config
    for part in key.split("."):
        section = next((kind for kind in (section, *get_args(section)) if is_dataclass(kind)), None)
        if section is None:
            return False  # a mapping or list, which takes any key
        hints = get_type_hints(section)
        if part not in hints:
            return True
        section = hints[part]
    return False


def _unknown(key: str, tree: Any) -> Fault:
    """Fault of a key that does not exist; names the likeliest one that does, and its neighbours."""
    leaves = sorted({part for leaf in flat(tree) for part in _prefixes(leaf)} | set(_groups()))
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
    for part in key.split("."):
        if isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        elif isinstance(tree, dict) and part in tree:
            tree = tree[part]
        else:
            return False
    return True


def _loader() -> Any:
    return GlobalHydra.instance().config_loader()


def _options(group: str) -> list[str]:
    """Files of a config group, those in folders as `folder/file`; empty if there is no such group."""
    if not group:
        return []
    files = list(_loader().get_group_options(group, results_filter=ObjectType.CONFIG))
    folders = _loader().list_groups(group) if group in FOLDERED else []
    return files + [f"{folder}/{name}" for folder in folders for name in _loader().get_group_options(f"{group}/{folder}")]


def _groups() -> list[str]:
    return [name for name in _loader().list_groups("") if name != "hydra"]


def _values(override: ParsedOverride) -> list[Any]:
    if override.is_delete():
        return []
    return list(override.sweep_iterator()) if override.is_discrete_sweep() else [override.value()]


def _value_texts(override: ParsedOverride) -> list[str]:
    """`key=value` for every value of a sweep, or for both ends of an interval; else the override itself."""
    typed = Override.parse(str(override.input_line))
    if override.is_interval_sweep():
        interval = override.value()
        assert isinstance(interval, IntervalSweep)
        return [str(typed.with_value(end)) for end in (interval.start, interval.end)]
    if override.is_discrete_sweep():
        return [str(typed.with_value(value)) for value in override.sweep_string_iterator()]
    return [str(typed)]


def _first_value(override: ParsedOverride) -> str:
    texts = _value_texts(override)
    return texts[0] if texts else str(override.input_line)


def _cause(error: BaseException) -> str:
    """Message of OmegaConf that Hydra wraps in its own, without the lines that only name types."""
    lines = str(error.__cause__).splitlines() if error.__cause__ else str(error).strip().splitlines()[1:]
    return " ".join(
        line.strip() for line in lines if not line.strip().startswith(("full_key:", "object_type=", "reference_type="))
    )
