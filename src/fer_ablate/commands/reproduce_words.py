"""What was typed after `reproduce`, and the command that it stands for."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_ablate.cli import console


@dataclass(frozen=True)
class Wanted:
    """What was typed beside document and table.

    Args:
        words: overrides.
        config_dir: what was given as `--config-dir`.
        folder: of the documentation, which holds the measured costs.
        images: that a trial trains on, before classes are balanced.
    """

    words: tuple[str, ...]
    config_dir: Path | None
    folder: Path
    images: int = 2000

    def about(self, study: str, words: Sequence[str] | None = None) -> list[str]:
        """Words for a verb about this study.

        Args:
            study: `document/table`.
            words: overrides; None: as typed.
        """
        flags = ["--config-dir", str(self.config_dir)] if self.config_dir is not None else []
        return [*flags, f"study={study}", *(self.words if words is None else words)]


def show_command(words: Sequence[str]) -> None:
    """Print a command as people can type it."""
    console.console.print(f"python -m fer_ablate {shlex.join(words)}")
