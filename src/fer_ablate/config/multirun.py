"""Which runs `-m` makes, as files and words together say it: Hydra's mode, its sweeper, and `hydra.sweeper.params`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.config.compose import HydraSection, composed, composer, hydra_section, primary_name
from fer_ablate.config.diagnosis import with_globs
from fer_ablate.config.hydra_internals import controlling_config
from fer_ablate.config.overrides import is_of_study, key_of, parsed_overrides, value_of
from fer_ablate.errors import Fault, FaultyConfigError, UserError, choices, first_line

GRID, SEARCH, BASIC = "study", "optuna", "basic"
"""Sweepers: ours for studies and grids, ours for searches, and Hydra's own, in whose place ours trains."""

SWEEPER, PARAMS = "hydra/sweeper", "hydra.sweeper.params"


@dataclass(frozen=True)
class Multirun:
    """What a command asks of Hydra beside the config of its runs.

    Args:
        on: whether `hydra.mode` makes several runs of a command without `-m`.
        sweeper: `study` for studies and grids, `optuna` for searches; another name is of a sweeper that is not taken.
        params: words of `hydra.sweeper.params`, each a key with its values; they go before what is typed.
        notes: for people; what is done in another way than Hydra would do it.
    """

    on: bool
    sweeper: str
    params: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_search(self) -> bool:
        """Whether Optuna suggests the values."""
        return self.sweeper == SEARCH

    def check(self) -> None:
        """Refuse a sweeper that would train finished runs again.

        Raises:
            UserError: it is neither one of ours, nor one that ours stands in for.
        """
        if self.sweeper not in (GRID, SEARCH):
            known = choices(self.sweeper, (GRID, SEARCH))
            raise UserError(f"{SWEEPER}={self.sweeper} would train finished runs again. {known}")

    def words(self, typed: Sequence[str]) -> list[str]:
        """Every word of a grid, in the order in which Hydra's basic sweeper varies them; needs `composer`.

        Args:
            typed: on the command line. What is typed takes the place of the same key in the file.
        """
        found: dict[str, list[str]] = {}
        for word in self.params:
            found[key_of(word)] = [word]
        for word in with_globs(typed):
            known = found.setdefault(key_of(word), [])
            # The last word of a key counts. Two plain choices of one group are a fault, which Hydra itself words.
            if known and (_is_value(word) or known[-1] in self.params or _varies(known[-1]) or _varies(word)):
                known.clear()
            known.append(word)
        return [word for words in found.values() for word in words]


def multirun_of(typed: Sequence[str], config_dir: Path | None = None) -> Multirun:
    """Read what files and words say about several runs.

    Args:
        typed: overrides of the command line.
        config_dir: what was given as `--config-dir`.

    Raises:
        UserError: the words do not compose, or the params are no words.
    """
    # Rows of a study compose on their own, and a study's file says nothing to Hydra.
    words = [word for word in typed if not is_of_study(word)]
    if swept := [word for word in words if key_of(word).startswith("hydra") and _varies(word)]:
        raise FaultyConfigError([Fault(key_of(word), f"{value_of(word)} is several values.", "Give one.") for word in swept])
    with composer(config_dir):
        try:
            section = hydra_section(words)
        except (HydraException, OSError) as error:  # an OSError for the name of a file that is too long
            raise UserError(f"Hydra: {first_line(error)}") from error
        studied = any(word.startswith("study=") and value_of(word) != "null" for word in typed)
        sweeper = _sweeper(section)
        chosen = [key_of(word) for word in typed]
        notes = list(_notes(section))
        if studied and sweeper == SEARCH and SWEEPER not in chosen:
            notes.append(f"a study trains its rows; the search of {PARAMS} is left out")
            return Multirun(section.mode == "MULTIRUN", GRID, notes=tuple(notes))
        params = with_globs(_params(section, words)) if sweeper == GRID else ()
    return Multirun(section.mode == "MULTIRUN", sweeper, tuple(params), tuple(notes))


def sweeper_values(words: Sequence[str], config_dir: Path | None) -> dict[str, Any]:
    """Values of `hydra.sweeper` as Hydra composes them before a sweep.

    Args:
        words: of the command line, those with several values left out.
        config_dir: what was given as `--config-dir`.

    Raises:
        UserError: the words do not compose.
    """
    with composer(config_dir) as app:
        try:
            return dict(controlling_config(app, primary_name(), words).hydra.sweeper.items())
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(f"Hydra: {first_line(error)}") from error


def _sweeper(section: HydraSection) -> str:
    """Our name of the sweeper, which a file of the user's may have under a name of its own."""
    if not isinstance(section.sweeper, Mapping):
        raise FaultyConfigError([Fault("hydra.sweeper", f"{section.sweeper} is no section.", f"Give {SWEEPER}={GRID}.")])
    if section.choice == GRID:
        return GRID
    target = str(section.sweeper.get("_target_", ""))
    if target.endswith(".OptunaSweeper") or (not target and "sampler" in section.sweeper):
        return SEARCH
    if not target or target.endswith(".BasicSweeper"):
        return GRID
    return str(section.choice)


def _notes(section: HydraSection) -> Iterator[str]:
    if section.choice == BASIC:
        yield f"{SWEEPER}={BASIC}: the same grid by the sweeper of this program, which does not train finished runs again"
    if section.chdir:
        yield "hydra.job.chdir: the runs of -m have folders in runs_dir, and relative paths begin in the present folder"
    unheeded = [name for name in ("when", "exclude") if section.sweeper.get(name)]
    if unheeded and section.sweeper.get("params") and _sweeper(section) == GRID:
        keys = " and ".join(f"hydra.sweeper.{name}" for name in unheeded)
        yield f"{keys}: for searches alone, a grid has all combinations; a study leaves some out by study.exclude"


def _params(section: HydraSection, words: Sequence[str]) -> list[str]:
    """The words of `hydra.sweeper.params`, as Hydra's basic sweeper makes them.

    Raises:
        FaultyConfigError: with every one that is no text of values.
    """
    given = section.sweeper.get("params")
    if given is None:
        return []
    if "${" in str(given):
        given = _resolved(given, words)
    if not isinstance(given, Mapping):
        raise FaultyConfigError([Fault(PARAMS, f"{given} is no mapping of keys to values.", "Write KEY: a,b below it.")])
    faults = []
    for key, value in given.items():
        if isinstance(value, Mapping):
            inner = next(iter(value), "KEY")
            faults.append(Fault(f"{PARAMS}.{key}", "is a section, not a text of values.", f"Write {key}.{inner}: a,b instead."))
        elif value is None or isinstance(value, list):
            problem = f"{value} is no text of values."
            faults.append(Fault(f"{PARAMS}.{key}", problem, "Write a,b for two values, '[a,b]' for one list."))
    if faults:
        raise FaultyConfigError(faults)
    return [f"{key}={value}" for key, value in given.items()]


def _resolved(params: Any, words: Sequence[str]) -> Any:
    """The params with the values that they take from other keys."""
    single = [word for word in words if not _varies(word)]
    try:
        tree = composed(single)
        with open_dict(tree):
            tree["hydra"] = {"sweeper": {"params": params}}
        return OmegaConf.to_container(tree.hydra.sweeper.params, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise FaultyConfigError([Fault(PARAMS, first_line(error), "Write the values out.")]) from error


def _is_value(word: str) -> bool:
    """Whether a word sets a single key of a run."""
    return "." in key_of(word) and not is_of_study(word) and not key_of(word).startswith("hydra")


def _varies(word: str) -> bool:
    try:
        return parsed_overrides([word])[0].is_sweep_override()
    except HydraException:
        return False  # said later, together with all other faults
