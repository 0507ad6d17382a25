"""What one would type to get a study, a run or its surroundings again."""

import shlex
from collections.abc import Mapping, Sequence

import yaml

from fer_ablate.config.compose import conf_dir
from fer_ablate.config.key import short
from fer_ablate.config.study_rows import rows_of
from fer_ablate.study.spec import Asked
from fer_ablate.tracking.disk.run_folder import RunFolder

PROGRAM = "python -m fer_ablate"

PLACES = ("runs_dir=", "tracking=", "tracking.", "force=", "hydra/", "hydra.", "init_from=")
"""Beginnings of words that say where a run is kept or found, which is another place for every reader."""

OWN_PACKAGE = "fer-ablate"

NOT_PACKAGES = ("device", "devices", "hardware", "threads", "precision", "python", "platform", OWN_PACKAGE)
"""Of an environment, what pip does not install from an index."""


def quoted(word: str) -> str:
    """A word as a shell takes it; an apostrophe within double quotes, which is easier to read than what shlex makes of it."""
    if "'" in word and not set(word) & set('"$`\\!'):
        return f'"{word}"'
    return shlex.quote(word)


def study_command(asked: Asked, verb: str = "-m") -> str:
    """Trains a study or a grid, or what else a verb does with it; seeds and folds are spelled out."""
    own = rows_of(asked.study) if asked.from_file else []
    rows = asked.rows[: len(asked.rows) // len(own)] if own else asked.rows
    known, typed = len(own[0].overrides) if own else 0, len(asked.typed)
    grid: dict[str, list[str]] = {}
    for row in rows:
        for word in row.overrides[known : len(row.overrides) - typed]:
            key, value = word.split("=", 1)
            grid.setdefault(key, []).append(value)
    words = [f"study={asked.name}"] if asked.from_file else []
    words += [f"{key}={','.join(dict.fromkeys(values))}" for key, values in grid.items()]
    words += [word for word in asked.typed if not word.startswith(PLACES)]
    if asked.seeds is not None:
        words.append(f"seed={','.join(map(str, asked.seeds))}")
    if asked.folds is not None:
        words.append(f"study.folds={asked.folds}")
    return " ".join([PROGRAM, verb, *map(quoted, words)])


def own_file(asked: Asked) -> bool:
    """Whether the study's file does not come with the package, so that its folder has to be named."""
    return asked.from_file and not (conf_dir() / "study" / f"{asked.name}.yaml").is_file()


def run_command(folder: RunFolder) -> str:
    """Trains one run."""
    header = folder.header
    words = [word for word in header.overrides if not word.startswith(PLACES)]
    start = (yaml.safe_load(folder.config_yaml) or {}).get("init_from")
    if start:
        words.append(f"init_from={short(start) if start.isalnum() else start}")
    return " ".join([PROGRAM, *map(quoted, words)])


def explain_command(key: str) -> str:
    """Draws the heat maps of a run."""
    return f"{PROGRAM} explain run={short(key)}"


def installing(environment: Mapping[str, str]) -> str:
    """Puts the versions of a run into place, from the folder of the package's sources."""
    packages = [f"{name}=={version.split('+')[0]}" for name, version in environment.items() if name not in NOT_PACKAGES]
    return " ".join(["pip install -e .", *packages])


def steps(commands: Sequence[str], environment: Mapping[str, str], dataset: str) -> str:
    """Lines to type, one after the other, after having got the sources of the package."""
    version = environment.get(OWN_PACKAGE, "")
    lines = [f"# in the folder of the sources of {OWN_PACKAGE} {version}".rstrip(), installing(environment)]
    if dataset != "synthetic":
        lines.append(f"export FER_ABLATE_DATA=...   # the folder or file with the images of {dataset}")
    return "\n".join([*lines, *commands])
