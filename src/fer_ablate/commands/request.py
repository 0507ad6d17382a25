"""From the words after a verb to checked configs, through Hydra."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.config.compose import CONFIG_NAME, composed, conf_dir, flat, from_yaml, plain, register_schema, to_config, to_yaml
from fer_ablate.config.diagnosis import Diagnosis, diagnose
from fer_ablate.config.schema import Config
from fer_ablate.errors import Fault, FaultyConfigError, UserError
from fer_ablate.tracking import opening
from fer_ablate.training.checks import check

INSPECTIONS = ("help", "hydra_help", "cfg", "info", "shell_completion")
"""Hydra's flags that print something and run nothing."""

UNNAMED = (
    "seed",
    "name",
    "runs_dir",
    "force",
    "plugins",
    "tracking",
    "data.path",
    "data.cache_dir",
    "data.ferplus_path",
    "trainer.num_threads",
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
    """

    config: Config
    name: str
    overrides: list[str] = field(default_factory=list)
    changed: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write it down for another process."""
        path.write_text(json.dumps({**vars(self), "config": to_yaml(self.config)}), encoding="utf-8")

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
    if not any(getattr(parsed, flag, None) for flag in INSPECTIONS):
        diagnosis = diagnose(parsed.overrides, Path(parsed.config_dir) if parsed.config_dir else None)
        raise_faults([*diagnosis.faults, *_content_faults(diagnosis)], ignore)
    register_schema()
    codes: list[int] = []

    def task(tree: DictConfig) -> None:
        codes.append(_guarded(tree, job, ignore))

    program = sys.argv[0]
    sys.argv = [program, *arguments]
    hydra.main(config_path=str(conf_dir()), config_name=CONFIG_NAME)(task)()
    return max(codes, default=0)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Tell Hydra's flags from overrides."""
    return get_args_parser().parse_intermixed_args(list(arguments))


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
    raise_faults([*check(config), *opening.check(config.tracking), *plugin_faults(config, overrides)], ignore)
    defaults = flat(plain(to_config(composed())))
    changed = {key: str(value) for key, value in flat(plain(config)).items() if defaults.get(key) != value}
    return Request(config, config.name or _derived_name(overrides), list(overrides), changed, _told(overrides))


def _guarded(tree: DictConfig, job: Callable[[Request], int], ignore: tuple[str, ...]) -> int:
    """A run of a grid that fails is told and does not keep the others from running."""
    try:
        return job(requested(tree, HydraConfig.get().overrides.task, ignore))
    except UserError as error:
        print(f"fer_ablate: {error}", file=sys.stderr)
        return 1


def _content_faults(diagnosis: Diagnosis) -> list[Fault]:
    if diagnosis.tree is None:
        return []
    try:
        config = to_config(diagnosis.tree)
    except OmegaConfBaseException as error:
        return [Fault("", str(error).splitlines()[0], "Give it on the command line, or see --cfg job.")]
    return [*check(config), *opening.check(config.tracking), *plugin_faults(config, diagnosis.sound)]


def plugin_faults(config: Config, overrides: Sequence[str]) -> list[Fault]:
    """Code of a stranger runs only if the person at the keyboard named it, never because a YAML file did."""
    if config.plugins and not any(text.lstrip("+").startswith("plugins=") for text in overrides):
        listed = ",".join(config.plugins)
        return [
            Fault(
                "plugins",
                f"[{listed}] comes from a file.",
                f"If you trust that code, pass plugins=[{listed}] on the command line.",
            )
        ]
    return []


def _told(overrides: Sequence[str]) -> list[str]:
    groups = [text for text in overrides if "." not in text.split("=", 1)[0] and not text.startswith(UNNAMED)]
    defaults = flat(plain(to_config(composed(groups))))
    keys = [text.lstrip("+").split("=", 1)[0] for text in overrides]
    return [f"{text}  (default {defaults[key]})" if key in defaults else text for text, key in zip(overrides, keys, strict=True)]


def _derived_name(overrides: Sequence[str]) -> str:
    """What was typed, as far as it says what is studied: `model.conv_layers=4` -> `conv_layers=4`."""
    told = [text.lstrip("+") for text in overrides if not text.lstrip("+~").startswith(UNNAMED)]
    parts = [f"{text.split('=', 1)[0].rsplit('.', 1)[-1]}={text.split('=', 1)[1]}" for text in told if "=" in text]
    return " ".join(part.removeprefix("experiment=") for part in parts) or "baseline"
