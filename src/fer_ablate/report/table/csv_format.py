"""A study's table for programs: one line for each row and metric, numbers in full."""

from typing import Any

import pandas as pd

from fer_ablate.judgement.records import Difference, Published, Score, StudyTable, TableRow
from fer_ablate.report.quantities import one_line, scale
from fer_ablate.report.table.cells import first_line


def csv(table: StudyTable) -> str:
    """The lines of `frame`; cells without a value are empty."""
    return frame(table).to_csv(index=False, lineterminator="\n")


def frame(table: StudyTable) -> pd.DataFrame:
    """One line for each row and metric; fractions stay fractions and seconds seconds.

    Of cross-validated rows `n` counts folds, and `seeds` names every run as `seed/fold`.
    Published numbers and gaps are in `published_unit`: percent for fractions, else the metric's own.
    """
    return pd.DataFrame([_line(table, row, column) for row in table.rows for column in table.columns])


def _line(table: StudyTable, row: TableRow, column: str) -> dict[str, Any]:
    score, printed = row.scores.get(column), row.published.get(column)
    return {
        "study": table.study,
        "row": row.label,
        "baseline": row.baseline,
        "factor": row.factor,
        "column": column,
        "n": score.n if score else 0,
        "seeds_asked": " ".join(map(str, row.seeds)),
        "folds_asked": row.folds,
        "seeds": " ".join(repeat.short for repeat in row.finished),
        **_score(score),
        **_difference(score.difference if score else None),
        **_published(printed, column),
        "gap": score.gap if score else None,
        "agrees": score.agrees if score else None,
        "parameters": row.parameters,
        "macs": row.macs,
        "seconds": row.seconds,
        "peak_memory_mb": row.peak_memory_mb,
        "stale": row.stale,
        "failed": "; ".join(f"{failure.repeat}: {first_line(failure)} ({failure.log})" for failure in row.failures),
    }


def _score(score: Score | None) -> dict[str, Any]:
    if score is None:
        return dict.fromkeys(("images", "mean", "sd", "ci_low", "ci_high", "over_images"))
    return {
        "images": score.images,
        "mean": score.mean,
        "sd": score.sd,
        "ci_low": score.low,
        "ci_high": score.high,
        "over_images": score.over_images,
    }


def _difference(difference: Difference | None) -> dict[str, Any]:
    if difference is None:
        return dict.fromkeys(("difference", "diff_low", "diff_high", "p", "p_holm", "verdict"))
    return {
        "difference": difference.value,
        "diff_low": difference.low,
        "diff_high": difference.high,
        "p": difference.p,
        "p_holm": difference.p_holm,
        "verdict": difference.verdict,
    }


def _published(printed: Published | None, column: str) -> dict[str, Any]:
    if printed is None:
        return dict.fromkeys(("published", "published_unit", "published_note"))
    unit = "percent" if scale(column) == 100 else "as measured"
    return {"published": printed.value, "published_unit": unit, "published_note": one_line(printed.note)}
