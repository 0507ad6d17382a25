"""The runs that a command line describes: each config of it, checked and named, and an action called with it."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.cli.command_line import HydraArguments, allow_plugins, asked_of, exit_code, parse, raise_faults, sweep_faults
from fer_ablate.config.compose import (
    composed,
    composer,
    flat,
    from_yaml,
    plain,
    primary_name,
    register_schema,
    to_config,
    to_yaml,
)
from fer_ablate.config.conf_files import CONFIG_NAME, conf_dir
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.environment import recorded
from fer_ablate.config.overrides import Override, key_of
from fer_ablate.config.schema import Config
from fer_ablate.config.study_rows import repeat_of
from fer_ablate.errors import UserError
from fer_ablate.tracking.disk.files import write_text

SINGLE_VALUES = ("seed", "name", "runs_dir", "force", "plugins")
"""Keys at the top of the config that are not groups."""

UNNAMED = (
    *SINGLE_VALUES,
    "tracking",
    "data.path",
    "data.cache_dir",
    "data.ferplus_path",
    "trainer=",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.strategy",
    "trainer.num_threads",
    "trainer.profiler",
    "trainer.save_last",
)
"""Beginnings of overrides that say nothing about what is studied, so they do not enter a run's name."""


@dataclass(frozen=True)
class RunSpec:
    """A requested run: its config, and how it is named to people.

    Args:
        config: resolved and free of faults.
        name: the given one, or what differs from the defaults.
        overrides: as typed.
        changed: every leaf that differs from the defaults -> its value.
        described: the overrides for people, each single value beside its default.
        key: key of the run, if it was planned; empty otherwise.
        place: within a sweep, such as `3/12`, or empty; runs of a sweep print less.
        folder: of the run, if it was planned; empty otherwise.
        draws: whether the run draws its pictures itself; otherwise the sweep does.
        quiet: whether what the run prints goes to its log, since the sweep shows how far it is.
        received: folder with what another machine has sent for the run (`execution.received`); empty if this machine has the
            images itself.
        continues: folder of the shorter finished run whose state a planned run begins with; empty if it begins with none.
    """

    config: Config
    name: str
    overrides: list[str] = field(default_factory=list)
    changed: dict[str, str] = field(default_factory=dict)
    described: list[str] = field(default_factory=list)
    key: str = ""
    place: str = ""
    folder: str = ""
    draws: bool = True
    quiet: bool = False
    received: str = ""
    continues: str = ""

    @property
    def title(self) -> str:
        """Beginning of its lines in a sweep, where several runs may print at once."""
        return f"[{self.place}] {self.name}, {repeat_of(self.config)}"

    def __getstate__(self) -> dict[str, Any]:
        # Launchers leave pickles on disk, where values of the environment have no place.
        return {**vars(self), "config": to_yaml(self.config)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "config": from_yaml(state["config"])})

    def save(self, path: Path) -> None:
        """Write it to a file for another process."""
        write_text(path, json.dumps({**vars(self), "config": to_yaml(self.config)}))

    @classmethod
    def load(cls, path: Path) -> "RunSpec":
        """Read what `save` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**content, "config": from_yaml(content["config"])})


def run_hydra(arguments: Sequence[str], action: Callable[[RunSpec], int], ignore: tuple[str, ...] = ()) -> int:
    """Compose the config, or with `-m` each one of a grid, and call a function with it.

    Args:
        arguments: after the verb; plain Hydra.
        action: returns an exit code.
        ignore: keys whose faults do not matter for this action.

    Returns:
        The worst exit code.

    Raises:
        FaultyConfigError: with every fault of every override and of the composed config.
    """
    parsed = parse(arguments)
    allow_plugins(parsed.overrides)
    several = parsed.multirun
    if not parsed.inspects:
        from fer_ablate.study.faults import content_faults  # a third of a second, which completion would wait for

        diagnosis = diagnose(parsed.overrides, parsed.config_dir)
        raise_faults([*diagnosis.faults, *content_faults(diagnosis)], ignore)
        several = several or asked_of(parsed).on
        raise_faults([] if several else sweep_faults(parsed.overrides))
    codes: list[int] = []

    def task(tree: DictConfig) -> None:
        overrides = list(HydraConfig.get().overrides.task)
        # Collected here, since `hydra.main` does not hand on what the task returns.
        codes.append(exit_code(lambda: action(run_spec_of(tree, overrides, ignore))))

    # One after another in this process: only trainings are worth a launcher, and only our own sweeper skips finished ones.
    basic = ["hydra/sweeper=basic", "hydra/launcher=basic"] if several and not parsed.inspects else []
    if parsed.plain:
        _run_task(parsed, [*parsed.overrides, *basic], several, task)
    else:
        register_schema()
        sys.argv = [sys.argv[0], *arguments, *basic]
        hydra.main(config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)()
    return max(codes, default=0)


def _run_task(parsed: HydraArguments, overrides: list[str], several: bool, task: Callable[[DictConfig], None]) -> None:
    """Do what `hydra.main` does with the app that has read the YAML files already; another would take half a second to read them.

    Raises:
        UserError: Hydra refuses what `diagnose` let pass.
    """
    begun = False

    def begin(tree: DictConfig) -> None:
        nonlocal begun
        begun = True
        task(tree)

    try:
        with composer(parsed.config_dir) as app:
            if several:
                app.multirun(primary_name(), begin, [*overrides, "hydra.mode=MULTIRUN"])
            else:
                app.run(primary_name(), begin, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"Hydra: {error}") from error
    except (TypeError, AttributeError) as error:  # of a value in its own section that is no section
        if begun:
            raise
        raise UserError(f"Hydra: {error}. Look at the words that begin with hydra.") from error
    except OSError as error:
        if begun:
            raise
        remedy = "Leave out hydra.run.dir and hydra.sweep.dir, or give a folder that can be written."
        raise UserError(f"Hydra cannot make {error.filename}: {error.strerror}. {remedy}") from error


def run_spec_of(tree: DictConfig, overrides: Sequence[str], ignore: tuple[str, ...] = ()) -> RunSpec:
    """Check a composed tree and name its run. Hydra must be initialised, since the defaults are composed for comparison.

    Raises:
        FaultyConfigError: with every fault.
    """
    from fer_ablate.study.faults import config_faults

    config = to_config(tree)
    raise_faults(config_faults(config, overrides), ignore)
    defaults, values = flat(plain(to_config(_defaults(overrides)))), flat(plain(config))
    changed = {key: recorded(key, value) for key, value in values.items() if defaults.get(key) != value}
    return RunSpec(config, config.name or _derived_name(overrides), list(overrides), changed, _described(overrides, values))


def _defaults(overrides: Sequence[str]) -> DictConfig:
    """What a run without overrides would have; a primary config of the user's may leave a group to them."""
    try:
        return composed()
    except HydraException:
        return composed([text for text in overrides if "." not in key_of(text) and key_of(text) not in SINGLE_VALUES])


def _described(overrides: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """The overrides that change something, each with the default that it replaces."""
    # The default of a key depends on the chosen groups, so these are composed without the keys.
    groups = [text for text in overrides if "." not in key_of(text) and not text.startswith(SINGLE_VALUES)]
    defaults = flat(plain(to_config(composed(groups))))
    keyed = [(text, key_of(text)) for text in overrides]
    return [
        f"{text}  (default {defaults[key]})" if key in defaults else text
        for text, key in keyed
        if key not in defaults or values.get(key) != defaults[key]
    ]


def _derived_name(overrides: Sequence[str]) -> str:
    """The overrides that say what is studied, shortened: `model.conv_layers=4` -> `conv_layers=4`."""
    naming = [one for one in map(Override.parse, overrides) if not one.without_prefix.startswith(UNNAMED)]
    parts = [one.short for one in naming if one.value is not None]
    return " ".join(part.removeprefix("experiment=") for part in parts) or "baseline"
