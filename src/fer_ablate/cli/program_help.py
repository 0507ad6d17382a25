"""The help of the program: the text that Hydra composes for `--help`, put together without Hydra, which takes a second."""

import string
from collections.abc import Iterator, Sequence
from pathlib import Path

from fer_ablate.config.conf_files import CONFIG_NAME, conf_dir

FLAGS = frozenset({"-h", "--help"})


def asks_for_help_alone(arguments: Sequence[str]) -> bool:
    """Whether nothing but `--help` was typed; with a folder or an override beside it, the text depends on them."""
    return bool(arguments) and FLAGS.issuperset(arguments)


def program_help() -> str:
    """The section `hydra.help` of conf/config.yaml, with every group and its choices."""
    import yaml

    folder = conf_dir()
    words = yaml.safe_load((folder / f"{CONFIG_NAME}.yaml").read_text(encoding="utf-8"))["hydra"]["help"]
    text = words["template"]
    # These are interpolations within the file; the groups are Hydra's own placeholder.
    for name in ("header", "footer"):
        text = text.replace(f"${{hydra.help.{name}}}", words[name])
    return string.Template(text).substitute(APP_CONFIG_GROUPS="".join(_groups(folder)))


def _groups(folder: Path) -> Iterator[str]:
    """A line for each group with files, such as `loss: cross_entropy, focal`."""
    found = sorted((str(path.relative_to(folder)), path) for path in folder.rglob("*") if path.is_dir())
    for name, path in found:
        choices = sorted(file.stem for file in path.glob("*.yaml"))
        if choices and name.partition("/")[0] != "hydra":
            yield f"{name}: {', '.join(choices)}\n"
