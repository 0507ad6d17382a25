"""`init`: a folder for a study of one's own, with files that run as they are."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from fer_ablate import shell
from fer_ablate.cli import console
from fer_ablate.cli.words import NoWords, read_command
from fer_ablate.config.conf_files import conf_dir
from fer_ablate.config.overrides import parsed_overrides
from fer_ablate.errors import UserError
from fer_ablate.paths import expanded
from fer_ablate.tracking.disk.files import write_error

USAGE = """A folder for a study of your own: its file, a network in YAML, another one in Python, and a README with three commands.

  python -m fer_ablate init my_study                 makes ./my_study
  python -m fer_ablate init ~/work/depth             the study is called depth

All of it runs as it is made, on faces that the program draws. Nothing is overwritten."""

STARTER = Path(__file__).resolve().parents[1] / "starter"
"""The files that are copied; `$name` in their text, and NAME in their paths, is the name of the study."""

NAME = "NAME"

TEMPLATE = ".txt"
"""End of the names of files in Python, which are no modules of this package."""

MEANINGS = {
    "README.md": "three commands",
    "my_parts.py": "a network in Python",
    "conf/model/my_model.yaml": "a network of stages",
}

VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Names that need no quotes, neither in YAML nor in a shell."""


def run(arguments: Sequence[str]) -> int:
    """Make the folder that is named."""
    _, rest = read_command(arguments, NoWords, USAGE, help_if_empty=True)
    if len(rest) != 1 or "=" in rest[0] or rest[0].startswith("-"):
        raise UserError(f"init {' '.join(rest)}: give the name of one folder, as in init my_study.")
    folder = expanded(rest[0])
    if ".." in folder.parts:
        folder = Path(os.path.abspath(folder))
    name = folder.absolute().name
    # What Hydra takes for a number, a truth value or nothing cannot be typed as study=...
    if not VALID.fullmatch(name) or not isinstance(parsed_overrides([f"study={name}"])[0].value(), str):
        raise UserError(f"'{name}' cannot be the name of a study. Use letters, digits, _ and -, as in init my_study.")
    if os.path.isfile(conf_dir() / "study" / f"{name}.yaml"):  # Path.is_file would fail for a name that is too long
        raise UserError(f"study={name} is one of fer_ablate's own. Give another name, as in init my_{name}.")
    if os.path.lexists(folder):
        raise UserError(f"{folder} exists already. Give another name; nothing in it was changed.")
    made = make_folder(folder, name)
    console.facts([("made", f"{folder}/"), *(("", f"{place}  {MEANINGS.get(place, '')}".rstrip()) for place in made)])
    command = f"python -m fer_ablate -m --config-dir conf study={name} 'plugins=[my_parts]'"
    console.facts([("train", f"cd {shell.quoted(str(folder))} && {command}"), ("read", f"{folder}/README.md")])
    return 0


def make_folder(folder: Path, name: str) -> list[str]:
    """Copy the starter, whole or not at all; returns the paths of its files within the folder.

    Raises:
        UserError: the folder cannot be written.
    """
    made = []
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as unfinished:
            root = Path(unfinished) / folder.name
            for file in sorted(path for path in STARTER.rglob("*") if path.is_file()):
                place = file.relative_to(STARTER).as_posix().replace(NAME, name).removesuffix(TEMPLATE)
                target = root / place
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(Template(file.read_text(encoding="utf-8")).substitute(name=name), encoding="utf-8")
                made.append(place)
            root.rename(folder)
    except OSError as error:
        raise write_error(folder, error, "name another folder.") from error
    return made
