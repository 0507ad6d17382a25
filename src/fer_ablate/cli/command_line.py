"""Hydra's part of a command line: flags and overrides, checked, composed into the config of each run."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.config.binding import names_plugins
from fer_ablate.config.compose import (
    choose_primary,
    composed,
    composer,
    file_flags,
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
from fer_ablate.config.hydra_internals import flag_parser
from fer_ablate.config.multirun import Multirun, multirun_of
from fer_ablate.config.overrides import Override, is_override, key_of, parsed_overrides, value_of
from fer_ablate.config.schema import Config
from fer_ablate.config.study_rows import repeat_of
from fer_ablate.errors import Fault, FaultyConfigError, UserError
from fer_ablate.shell import quoted
from fer_ablate.tracking.disk.files import write_text

INSPECTIONS = ("help", "hydra_help", "cfg", "info", "shell_completion")
"""Flags of Hydra that print something and run nothing."""

PLAIN = ("overrides", "multirun", "config_dir", "config_name")
"""What nearly every command line consists of; with other flags it is left to `hydra.main`."""

SINGLE_VALUES = ("seed", "name", "runs_dir", "force", "plugins")
"""Keys at the top of the config that are not groups."""

OF_HYDRA_ALONE = ("config_path", "experimental_rerun")
"""Flags that are left to `hydra.main`; studies, grids and searches are composed without it."""

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
class HydraArguments:
    """Hydra's part of a command line.

    Args:
        overrides: as typed.
        config_dir: folder with files of the user's own, `--config-dir`.
        multirun: whether `-m` was given.
        inspects: whether a flag makes Hydra print something instead of running.
        plain: whether there is nothing else than overrides, `-m`, `--config-dir` and `--config-name`.
        unheeded: flags that only a single run can have.
    """

    overrides: list[str]
    config_dir: Path | None
    multirun: bool
    inspects: bool
    plain: bool = True
    unheeded: tuple[str, ...] = ()


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
        codes.append(_exit_code(lambda: action(run_spec_of(tree, overrides, ignore))))

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


def _exit_code(action: Callable[[], int]) -> int:
    """Exit code of an action; an error in what was typed or read is printed, and the next config of a grid goes on."""
    try:
        return action()
    except UserError as error:
        sys.stdout.flush()  # in a pipe, stdout is buffered and would follow the message
        print(f"fer_ablate: {error}", file=sys.stderr, flush=True)
        return 1


def parse(arguments: Sequence[str]) -> HydraArguments:
    """Separate Hydra's flags from overrides.

    Raises:
        UserError: an unknown flag, or a folder that is not there.
    """
    # Intermixed: flags may stand between overrides. Unknown ones are left for a message of our own.
    parsed, unknown = flag_parser().parse_known_intermixed_args(list(arguments))
    if unknown:
        raise UserError(f"{' '.join(unknown)}: no such flag. --hydra-help lists them; values are given as key=value.")
    if parsed.config_dir and not Path(parsed.config_dir).is_dir():
        raise UserError(f"--config-dir {parsed.config_dir}: there is no such folder. It holds <group>/<name>.yaml of your own.")
    _refuse_split(parsed.overrides)
    _begin_with(parsed.config_name, Path(parsed.config_dir) if parsed.config_dir else None)
    return HydraArguments(
        overrides=list(parsed.overrides),
        unheeded=tuple(f"--{flag.replace('_', '-')}" for flag in OF_HYDRA_ALONE if getattr(parsed, flag, None)),
        config_dir=Path(parsed.config_dir) if parsed.config_dir else None,
        multirun=bool(parsed.multirun) or "hydra.mode=MULTIRUN" in parsed.overrides,
        inspects=any(getattr(parsed, flag, None) for flag in INSPECTIONS),
        plain=not any(value for flag, value in vars(parsed).items() if flag not in PLAIN),
    )


def _refuse_split(words: Sequence[str]) -> None:
    """Refuse a list or mapping that the shell took apart at its blanks, as in study.rows=[-1 Conv] without quotes.

    Raises:
        FaultyConfigError: with the word as it is to be typed.
    """
    for first, word in enumerate(words):
        last, depth = first, _open_brackets(word)
        while "=" in word and depth > 0 and last + 1 < len(words):
            last += 1
            depth += _open_brackets(words[last])
        whole = " ".join(words[first : last + 1])
        if last > first and depth == 0 and is_override(whole):
            raise FaultyConfigError([Fault("", f"the shell split {whole} at its blanks.", f"Write {quoted(whole)}.")])


def _open_brackets(word: str) -> int:
    return sum(word.count(sign) for sign in "[{(") - sum(word.count(sign) for sign in "]})")


def asked_of(parsed: HydraArguments) -> Multirun:
    """What files and words together say about several runs.

    Raises:
        FaultyConfigError: with every fault of the words, if they do not compose.
        UserError: the sweeper's section is unusable.
    """
    try:
        return multirun_of(parsed.overrides, parsed.config_dir)
    except UserError:
        # Switches of a study are no keys of a run, and a study's file composes on its own.
        words = [text for text in parsed.overrides if not key_of(text).startswith("study.")]
        found = diagnose(words, parsed.config_dir)
        if found.faults and not any(key_of(text) == "study" for text in words):
            from fer_ablate.study.faults import content_faults

            raise_faults([*found.faults, *content_faults(found)])
        raise_faults(found.faults)
        raise


def _begin_with(config_name: str | None, config_dir: Path | None) -> None:
    """Let this command compose from a primary config of the user's, if one was named.

    Raises:
        UserError: there is none of this name in the folder.
    """
    name = config_name.removesuffix(".yaml") if config_name else None
    if name == CONFIG_NAME and not (config_dir is not None and (config_dir / f"{name}.yaml").is_file()):
        name = None  # the program's own, which is taken anyway
    if name is not None:
        file = (config_dir or Path()) / f"{name}.yaml"
        problem = f"--config-name {config_name}: "
        if config_dir is None:
            raise UserError(f"{problem}the folder of that config is missing. Give it as --config-dir.")
        if name == CONFIG_NAME:
            raise UserError(f"{problem}the config of the program has this name. Rename {file}.")
        if not file.is_file():
            raise UserError(f"{problem}there is no file {file}.")
    choose_primary(config_dir, name)


def study_arguments(study: str, overrides: Sequence[str], config_dir: Path | None) -> list[str]:
    """Arguments of a verb about a study, as they would be typed after the verb."""
    return [*file_flags(config_dir), f"study={study}", *overrides]


def by_study(arguments: Sequence[str]) -> list[list[str]]:
    """A command once for each study that it names, as in `study=quickstart,depth`; the command itself if it names one or none.

    Args:
        arguments: after the verb.
    """
    typed = [text for text in arguments if text.startswith("study=")]
    try:
        several = [one for one in parsed_overrides(typed) if one.is_discrete_sweep()]
    except HydraException:  # whoever reads the words says so, together with all other faults
        several = []
    if not several:
        return [list(arguments)]
    last = several[-1]
    names = last.sweep_string_iterator()
    return [[f"study={name}" if text == last.input_line else text for text in arguments] for name in names]


def each_study(arguments: Sequence[str], action: Callable[[Sequence[str]], int]) -> int:
    """Do the same with every study that a command names; an error in one is printed, and the next one goes on.

    Args:
        arguments: after the verb.
        action: called with the arguments of a command about one study, or with all of them; returns an exit code.

    Returns:
        The worst exit code.
    """
    commands = by_study(arguments)
    if len(commands) == 1:
        return action(commands[0])
    codes = []
    for words in commands:
        print(f"\n{next(text for text in words if text.startswith('study='))}", flush=True)
        codes.append(_exit_code(partial(action, words)))
    return max(codes)


def allow_plugins(overrides: Sequence[str]) -> None:
    """Make packages in the current folder importable where `plugins=` was typed."""
    # `python -m` has the current folder on its path; the console script `fer-ablate` does not.
    if names_plugins(overrides) and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def sweep_faults(overrides: Sequence[str]) -> list[Fault]:
    """Faults of overrides with several values, where a single run is meant; they must be free of other faults."""
    several = [one for one in parsed_overrides(overrides) if one.is_sweep_override()]
    return [
        Fault(
            one.key_or_group,
            f"{value_of(str(one.input_line))} is several values, hence several runs.",
            "Add -m for a grid of runs; write [a,b] for a list.",
        )
        for one in several
    ]


def raise_faults(faults: Sequence[Fault], ignore: tuple[str, ...] = ()) -> None:
    """Raise all faults together, except those of the keys in `ignore`."""
    if counted := [fault for fault in faults if fault.key not in ignore]:
        raise FaultyConfigError(counted)


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
