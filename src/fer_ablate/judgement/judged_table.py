"""The judged table of a study as plain values, with a lossless form in JSON; every other format is made from it.

Metrics that are fractions are stored as fractions (`acc` = 0.65). Published numbers are stored as printed, hence in percent.
"""

from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter

from fer_ablate.config.study_rows import Repeat
from fer_ablate.judgement.ranked import Ranks

LEVEL = 0.95
"""Confidence level of every interval."""

STRICT_JSON = ConfigDict(ser_json_inf_nan="strings")
"""JSON has no number for NaN, and null already means None: what is not finite becomes a string and is read back as it was."""


@dataclass(frozen=True)
class Published:
    """A printed number, in the unit of the table (percent for fractions)."""

    value: float
    note: str = ""


@dataclass(frozen=True)
class Failure:
    """A run that ended with an error.

    Args:
        seed: which the run was trained with.
        problem: first line of the error.
        log: file with the whole error.
        fold: which the run was to be tested on; None without folds.
    """

    seed: int
    problem: str
    log: Path
    fold: int | None = None

    @property
    def repeat(self) -> Repeat:
        """Seed and fold, which identify the run within its row."""
        return Repeat(self.seed, self.fold)


class Verdict(Enum):
    """What a comparison with the baseline shows."""

    better = "better"
    worse = "worse"
    higher = "higher"  # of metrics of which neither more nor less is better
    lower = "lower"
    same = "same"  # within the margin of the study
    not_worse = "not worse"  # by more than the margin
    noise = "noise"
    untested = "untested"
    same_runs = "same runs"  # as the baseline, which are not compared with themselves


@dataclass(frozen=True)
class Difference:
    """A row compared with the baseline in one column.

    Args:
        value: row minus baseline, as a fraction where the metric is one.
        low, high: 95 % interval; NaN with one seed, which compares two networks only.
        p: two-sided, before correction: of the Welch test, or of McNemar's for one seed.
        p_holm: corrected by Holm over the rows of the column.
        verdict: in words, such as `better by 0.4 to 1.9 points`.
        kind: the verdict; of earlier tables `untested`.
        seeds_needed: with how many seeds of both rows a difference of this size would be told in 80 % of tables; None if it is
            told, or if no number up to `power.MOST_SEEDS` is enough.
        within_margin: whether it is shown to be less than the margin of the study, on top of what `kind` says.
    """

    value: float
    low: float
    high: float
    p: float
    p_holm: float
    verdict: str
    kind: Verdict = Verdict.untested
    seeds_needed: int | None = None
    within_margin: bool = False


@dataclass(frozen=True)
class Score:
    """A row in one column.

    Args:
        n: number of seeds, or of folds if the row is cross-validated.
        images: number tested in each run, or in all folds together.
        mean: over seeds, or over folds.
        sd: between seeds, or between folds, ddof 1; NaN for n=1.
        low, high: 95 % interval of the mean over test images and seeds, or over folds, see `statistics`.
        over_images: whether the interval covers the draw of the images as well; otherwise it covers the seeds alone.
        difference: to the baseline; None for the baseline itself, and where the row or the baseline has no score.
        published: printed number, if there is one.
        gap: mean minus published, in the unit of `published`.
        agrees: whether the published number lies within the prediction interval of one more run; None where there is none.
        near_best: whether the row is the best of the column, or is not shown to be worse than it; None where that was not tested.
    """

    n: int
    images: int
    mean: float
    sd: float
    low: float
    high: float
    over_images: bool
    difference: Difference | None = None
    published: Published | None = None
    gap: float | None = None
    agrees: bool | None = None
    near_best: bool | None = None


@dataclass(frozen=True)
class TableRow:
    """A row of the table.

    Args:
        label: name of the row.
        baseline: whether the other rows are compared with this one.
        seeds: all that the study trains the row with.
        finished: seed, and fold if there is one, of every run that counts.
        stale: how many of these runs are of an earlier config, data or code.
        failures: one for each run that failed.
        scores: column -> score; columns without a finished run are absent.
        published: column -> printed number; also of rows not yet run.
        factor: value of the swept key.
        parameters, macs: size of the network, and its operations for one image; None while no run is finished.
        seconds, peak_memory_mb: mean over the runs; MiB.
        folds: number of folds; None if the row is not cross-validated.
        by_class: column (`test/recall/fear`, `test/macro_f1`) -> score beside a number of a printed classification report;
            columns without a finished run are absent.
        published_by_class: column -> number of that report; also of rows not yet run.
    """

    label: str
    baseline: bool
    seeds: tuple[int, ...]
    finished: tuple[Repeat, ...]
    stale: int
    failures: tuple[Failure, ...]
    scores: dict[str, Score]
    published: dict[str, Published]
    factor: int | float | str | None
    parameters: int | None
    macs: int | None
    seconds: float | None
    peak_memory_mb: float | None
    folds: int | None = None
    by_class: dict[str, Score] = field(default_factory=dict)
    published_by_class: dict[str, Published] = field(default_factory=dict)

    @property
    def expected(self) -> int:
        """Number of runs that the study specifies for the row."""
        return len(self.seeds) * (self.folds or 1)


@dataclass(frozen=True)
class Factor:
    """What rows differ in: a key, or the rows of a study that a grid multiplies.

    Args:
        name: the key.
        levels: its values, in the order of the study.
        reference: the value that the others are compared with.
    """

    name: str
    levels: tuple[str, ...]
    reference: str


class EffectKind(Enum):
    """What is compared."""

    main = "main effect"  # a level with the reference, mean over all levels of the other factors
    simple = "simple effect"  # the same within one level of another factor
    interaction = "interaction"  # how much that differs from the simple effect within the reference of the other factor


@dataclass(frozen=True)
class Effect:
    """A level of a factor compared with its reference.

    Args:
        kind: what is compared.
        factors: the factor; and of simple effects and interactions the other one.
        levels: of these factors.
        references: of these factors.
        difference: to the reference, as of a row to the baseline; `p_holm` counts all main effects and interactions of the
            column, or of simple effects those of the same two factors.
    """

    kind: EffectKind
    factors: tuple[str, ...]
    levels: tuple[str, ...]
    references: tuple[str, ...]
    difference: Difference


@dataclass(frozen=True)
class FactorTest:
    """Analysis of variance over the scores of runs: whether any level of a factor, or any interaction of two, differs."""

    factors: tuple[str, ...]
    f: float
    df: float
    df_error: float
    p: float


@dataclass(frozen=True)
class LevelMean:
    """Mean of all rows with these levels of two factors, with its 95 % interval."""

    factors: tuple[str, str]
    levels: tuple[str, str]
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ColumnEffects:
    """Effects in one column, and what they say in words."""

    effects: tuple[Effect, ...]
    tests: tuple[FactorTest, ...]
    means: tuple[LevelMean, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Effects:
    """Main effects and interactions of the factors of a study.

    Args:
        factors: in the order of the study, with the levels that are compared.
        columns: column -> effects; columns without enough scores are absent.
        notes: what is left out or not known yet and why, a sentence each.
        crossed: whether the rows are combinations of levels; otherwise each changes one factor of the baseline.
    """

    factors: tuple[Factor, ...]
    columns: dict[str, ColumnEffects]
    notes: tuple[str, ...]
    crossed: bool = True


@dataclass(frozen=True)
class DataSets:
    """Rows that were trained on several data sets.

    Args:
        rows: names, made of what rows differ in besides the data.
        data: titles of the data sets.
        labels: name -> title -> label of the row of the table.
        ranks: column -> ranks of the rows over the data sets.
    """

    rows: tuple[str, ...]
    data: tuple[str, ...]
    labels: dict[str, dict[str, str]]
    ranks: dict[str, Ranks]


@dataclass(frozen=True)
class JudgedTable:
    """A judged table.

    Args:
        study: name.
        source: document and table that the study reproduces; may be empty.
        columns: such as `test/acc`, in order.
        rows: in the order of the study.
        protocol: how all runs were tested; where rows differ, the values joined by ` / `.
        notes: sentences that appear below the table, such as `n=1: ...`.
        factor: the swept key; None if there is none.
        folds: number of folds; None if the study is not cross-validated.
        higher_is_better: column -> whether more of it is better, None if neither more nor less is; empty in earlier tables.
        margin: in points, within which rows count as the same; None if the study gives none.
        effects: of the factors, if its rows are combinations of their levels, or change one at a time.
        data_sets: if its rows are crossed with several.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT_JSON

    study: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    protocol: dict[str, str]
    notes: tuple[str, ...]
    factor: str | None = None
    folds: int | None = None
    margin: float | None = None
    higher_is_better: dict[str, bool | None] = field(default_factory=dict)
    effects: Effects | None = None
    data_sets: DataSets | None = None

    def to_json(self) -> str:
        """The table as JSON text, every number in full."""
        return _adapter().dump_json(self, indent=2).decode() + "\n"

    @classmethod
    def from_json(cls, text: str) -> "JudgedTable":
        """Inverse of `to_json`.

        Raises:
            ValueError: the text is not JSON, or a field is missing or of another type.
        """
        return _adapter().validate_json(text)


@cache
def _adapter() -> TypeAdapter[JudgedTable]:
    # Made at the first use: it takes a sixth of a second, which commands without a table need not wait for.
    return TypeAdapter(JudgedTable)
