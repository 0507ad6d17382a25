"""The snippets of README.md and docs/: blocks of a language, and the lines in them that are typed into a shell."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

GENERATED = ("docs/config.md", "docs/results.md")
"""Pages that a program writes."""

PAGES = ("README.md", *sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").glob("*.md")))

PROGRAM = "python -m fer_ablate "

_TYPED = re.compile(
    r"(python3?|/srv/\S+|pip|mlflow|tensorboard|optuna-dashboard|ray|apt|runuser|useradd|unshare|curl|rsync|for|export|cd) "
)


def text_of(page: str) -> str:
    """The text of a page, named by its path from the root."""
    return (ROOT / page).read_text()


def blocks(page: str, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages; an empty one is a block without a language."""
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```", text_of(page), re.M | re.S)
    return [text for language, text in found if language in languages]


def typed(page: str) -> list[str]:
    """The lines of a page that are typed into a shell, without the `$` before them."""
    lines = [line for block in blocks(page, "", "sh", "bash", "console") for line in block.splitlines()]
    given = [line.removeprefix("$ ") for line in lines]
    return [line for line in given if _TYPED.match(line)]
