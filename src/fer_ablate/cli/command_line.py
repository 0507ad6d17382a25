"""Hydra's part of a command line: flags and overrides, separated and checked; and which studies it names."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hydra.errors import HydraException

from fer_ablate.config.binding import names_plugins
from fer_ablate.config.compose import (
    choose_primary,
    file_flags,
)
from fer_ablate.config.conf_files import CONFIG_NAME
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.config.hydra_internals import flag_parser
from fer_ablate.config.multirun import Multirun, multirun_of
from fer_ablate.config.overrides import is_override, key_of, parsed_overrides, value_of
from fer_ablate.errors import Fault, FaultyConfigError, UserError
from fer_ablate.shell import quoted

INSPECTIONS = ("help", "hydra_help", "cfg", "info", "shell_completion")
"""Flags of Hydra that print something and run nothing."""

PLAIN = ("overrides", "multirun", "config_dir", "config_name")
"""What nearly every command line consists of; with other flags it is left to `hydra.main`."""


OF_HYDRA_ALONE = ("config_path", "experimental_rerun")
"""Flags that are left to `hydra.main`; studies, grids and searches are composed without it."""


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
        codes.append(exit_code(partial(action, words)))
    return max(codes)


def exit_code(action: Callable[[], int]) -> int:
    """Exit code of an action; an error in what was typed or read is printed, and the next config of a grid goes on."""
    try:
        return action()
    except UserError as error:
        sys.stdout.flush()  # in a pipe, stdout is buffered and would follow the message
        print(f"fer_ablate: {error}", file=sys.stderr, flush=True)
        return 1


def allow_plugins(overrides: Sequence[str]) -> None:
    """Make packages in the current folder importable where `plugins=` was typed."""
    # `python -m` has the current folder on its path; the console script `fer-ablate` does not.
    if names_plugins(overrides) and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def sweep_faults(overrides: Sequence[str], remedy: str = "Add -m for a grid of runs; write [a,b] for a list.") -> list[Fault]:
    """Faults of overrides with several values, where a single run is meant; they must be free of other faults."""
    several = [one for one in parsed_overrides(overrides) if one.is_sweep_override()]
    return [
        Fault(
            one.key_or_group,
            f"{value_of(str(one.input_line))} is several values, hence several runs.",
            remedy,
        )
        for one in several
    ]


def raise_faults(faults: Sequence[Fault], ignore: tuple[str, ...] = ()) -> None:
    """Raise all faults together, except those of the keys in `ignore`."""
    if counted := [fault for fault in faults if fault.key not in ignore]:
        raise FaultyConfigError(counted)
