"""Which of the runs of a row a run is: its seed, and with folds the one it is tested on."""

from collections.abc import Sequence
from dataclasses import dataclass

from fer_ablate.config.schema import Config


@dataclass(frozen=True)
class Repeat:
    """What tells the runs of one row apart.

    Args:
        seed: of the run.
        fold: that is tested, from 0; None without folds.
    """

    seed: int
    fold: int | None = None

    def __str__(self) -> str:
        """`seed 0`, or `seed 0, fold 3`."""
        return f"seed {self.seed}" + ("" if self.fold is None else f", fold {self.fold}")

    @property
    def short(self) -> str:
        """`0`, or `0/3`."""
        return str(self.seed) + ("" if self.fold is None else f"/{self.fold}")

    @property
    def place(self) -> tuple[int, int]:
        """To sort by."""
        return self.seed, -1 if self.fold is None else self.fold


def repeat_of(config: Config) -> Repeat:
    """Which run of its row a config is."""
    return Repeat(config.seed, config.data.fold if config.data.folds is not None else None)


def repeats(seeds: Sequence[int], folds: int | None) -> tuple[Repeat, ...]:
    """The runs of a row: all folds of the first seed, then those of the next, so that one cross-validation is complete early."""
    return tuple(Repeat(seed, fold) for seed in seeds for fold in (range(folds) if folds is not None else (None,)))
