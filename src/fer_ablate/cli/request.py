"""From the words after a verb to checked configs, through Hydra."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.config.binding import names_plugins
from fer_ablate.config.compose import CONFIG_NAME, composed, conf_dir, flat, from_yaml, plain, register_schema, to_config, to_yaml
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.repeats import repeat_of
from fer_ablate.config.schema import Config
from fer_ablate.errors import Fault, FaultyConfigError, UserError
from fer_ablate.study.faults import config_faults, content_faults
from fer_ablate.tracking.disk.files import write_text

INSPECTIONS = ("help", "hydra_help", "cfg", "info", "shell_completion")
"""Hydra's flags that print something and run nothing."""

SINGLE_VALUES = ("seed", "name", "runs_dir", "force", "plugins")
"""Keys at the top of the config that are no groups."""

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
)
"""Overrides that say nothing about what is studied, hence do not enter a run's name."""


@dataclass(frozen=True)
class Request:
    """One run that somebody asked for.

    Args:
        config: resolved and free of faults.
        name: label; the given one, or what differs from the defaults.
        overrides: as typed.
        changed: every leaf that differs from the defaults -> its value.
        told: the overrides for people, beside a single value what it would have been.
        key: of the run, if it was planned; empty otherwise.
        place: within a sweep, such as `3/12`, or empty; runs of a sweep talk less.
    """

    config: Config
    name: str
    overrides: list[str] = field(default_factory=list)
    changed: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    key: str = ""
    place: str = ""

    @property
    def title(self) -> str:
        """How lines of a sweep begin, since several runs may print at once."""
        return f"[{self.place}] {self.name}, {repeat_of(self.config)}"

    def save(self, path: Path) -> None:
        """Write it down for another process."""
        write_text(path, json.dumps({**vars(self), "config": to_yaml(self.config)}))

    @classmethod
    def load(cls, path: Path) -> "Request":
        """Inverse of `save`."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**content, "config": from_yaml(content["config"])})


def run_hydra(arguments: Sequence[str], job: Callable[[Request], int], ignore: tuple[str, ...] = ()) -> int:
    """Compose the config, or with `-m` each one of a grid, and do the job with it.

    Args:
        arguments: after the verb; plain Hydra.
        job: returns an exit code.
        ignore: keys whose faults do not matter for this job.

    Returns:
        The worst exit code.

    Raises:
        FaultyConfigError: with every fault of every override and of the composed config.
    """
    parsed = parse(arguments)
    allow_plugins(parsed.overrides)
    looking = inspected(parsed)
    if not looking:
        diagnosis = diagnose(parsed.overrides, Path(parsed.config_dir) if parsed.config_dir else None)
        raise_faults([*diagnosis.faults, *content_faults(diagnosis)], ignore)
        raise_faults([] if parsed.multirun else sweep_faults(parsed.overrides))
    register_schema()
    codes: list[int] = []

    def task(tree: DictConfig) -> None:
        overrides = list(HydraConfig.get().overrides.task)
        codes.append(_guarded(lambda: job(requested(tree, overrides, ignore))))

    program = sys.argv[0]
    # One after another in this process: only trainings are worth a launcher, and only they skip what is done.
    sys.argv = [program, *arguments, *(["hydra/sweeper=basic"] if parsed.multirun and not looking else [])]
    hydra.main(config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)()
    return max(codes, default=0)


def _guarded(job: Callable[[], int]) -> int:
    """Exit code of a job; if something from outside is wrong, that is told and the next job may go on."""
    try:
        return job()
    except UserError as error:
        sys.stdout.flush()  # in a pipe the message would otherwise stand above what came before it
        print(f"fer_ablate: {error}", file=sys.stderr, flush=True)
        return 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Tell Hydra's flags from overrides.

    Raises:
        UserError: an unknown flag, or a folder that is not there.
    """
    parsed, unknown = get_args_parser().parse_known_intermixed_args(list(arguments))
    if unknown:
        raise UserError(f"{' '.join(unknown)}: no such flag. --hydra-help lists them; values are given as key=value.")
    if parsed.config_dir and not Path(parsed.config_dir).is_dir():
        raise UserError(f"--config-dir {parsed.config_dir}: there is no such folder. It holds <group>/<name>.yaml of your own.")
    return parsed


def inspected(parsed: argparse.Namespace) -> bool:
    """Whether Hydra is only asked to print something."""
    return any(getattr(parsed, flag, None) for flag in INSPECTIONS)


def allow_plugins(overrides: Sequence[str]) -> None:
    """Let packages in the current folder be found where `plugins=` was typed; a console script would not look there."""
    if names_plugins(overrides) and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def sweep_faults(overrides: Sequence[str]) -> list[Fault]:
    """Several values for one key where only one run is meant; the overrides must be free of other faults."""
    several = [one for one in OverridesParser.create().parse_overrides(list(overrides)) if one.is_sweep_override()]
    return [
        Fault(
            one.key_or_group,
            f"{str(one.input_line).split('=', 1)[-1]} is several values, hence several runs.",
            "Add -m for a grid of runs; write [a,b] for a list.",
        )
        for one in several
    ]


def raise_faults(faults: Sequence[Fault], ignore: tuple[str, ...] = ()) -> None:
    """Raise all of them at once, if there are any; those of the keys in `ignore` do not count."""
    if counted := [fault for fault in faults if fault.key not in ignore]:
        raise FaultyConfigError(counted)


def requested(tree: DictConfig, overrides: Sequence[str], ignore: tuple[str, ...] = ()) -> Request:
    """Check a composed tree and name the run; inside a Hydra app.

    Raises:
        FaultyConfigError: with every fault.
    """
    try:
        config = to_config(tree)
    except OmegaConfBaseException as error:
        raise FaultyConfigError([Fault("", str(error).splitlines()[0])]) from error
    raise_faults(config_faults(config, overrides), ignore)
    defaults, values = flat(plain(to_config(composed()))), flat(plain(config))
    changed = {key: str(value) for key, value in values.items() if defaults.get(key) != value}
    return Request(config, config.name or _derived_name(overrides), list(overrides), changed, _told(overrides, values))


def _told(overrides: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """The overrides that change something; a default depends on the chosen groups."""
    groups = [text for text in overrides if "." not in text.split("=", 1)[0] and not text.startswith(SINGLE_VALUES)]
    defaults = flat(plain(to_config(composed(groups))))
    keyed = [(text, text.lstrip("+").split("=", 1)[0]) for text in overrides]
    return [
        f"{text}  (default {defaults[key]})" if key in defaults else text
        for text, key in keyed
        if key not in defaults or values.get(key) != defaults[key]
    ]


def _derived_name(overrides: Sequence[str]) -> str:
    """What was typed, as far as it says what is studied: `model.conv_layers=4` -> `conv_layers=4`."""
    told = [text.lstrip("+") for text in overrides if not text.lstrip("+~").startswith(UNNAMED)]
    parts = [f"{text.split('=', 1)[0].rsplit('.', 1)[-1]}={text.split('=', 1)[1]}" for text in told if "=" in text]
    return " ".join(part.removeprefix("experiment=") for part in parts) or "baseline"
