"""Judges a study: its finished runs go in, a `JudgedTable` comes out.

The arithmetic is in `statistics`, the wording of differences in `verdicts`, that of notes in `table_notes`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fer_ablate.errors import UserError, choices
from fer_ablate.judgement.class_scores import judged_by_class, within
from fer_ablate.judgement.evidence import Evidence, SeedEvidence, check_columns, row_evidence, split_and_metric
from fer_ablate.judgement.judged_table import JudgedTable, Published, Score, TableRow
from fer_ablate.judgement.protocols import Comparability, check_protocols, joined_protocol
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.judgement.split_images import PER_IMAGE
from fer_ablate.judgement.statistics import SeedSpread, holm, usual_spread
from fer_ablate.judgement.table_notes import table_notes
from fer_ablate.judgement.verdicts import LESS_IS_BETTER, compared, judged_difference
from fer_ablate.metrics import in_percent


def build_table(
    study: str,
    source: str,
    rows: Sequence[RowRuns],
    baseline: str,
    columns: Sequence[str],
    mixed_protocols: bool = False,
    factor: str | None = None,
    own_metrics: Collection[str] = (),
) -> JudgedTable:
    """Judge the finished runs of a study.

    Args:
        study: name.
        source: document and table that the study reproduces.
        rows: in order.
        baseline: label of the row that the others are compared with.
        columns: `<split>/<metric>` each, such as `test/acc`.
        mixed_protocols: allow rows that used different protocols; those that differ from the baseline are not compared with it.
        factor: the swept key.
        own_metrics: names of metrics of the user's own, which columns may show.

    Raises:
        UserError: a column or the baseline does not exist, or rows used different protocols.
    """
    check_columns(columns, own_metrics)
    labels = [row.label for row in rows]
    if baseline not in labels:
        raise UserError(f"study.baseline: there is no row {baseline!r}. {choices(baseline, labels)}")
    if not mixed_protocols:
        check_protocols(rows)
    evidence = {row.label: row_evidence(row, columns) for row in rows}
    comparability = Comparability(rows[labels.index(baseline)], {row.label: row for row in rows}, evidence)
    scores = {column: _column(column, rows, evidence, comparability) for column in columns}
    judged_rows = tuple(
        _table_row(
            row, row.label == baseline, {column: found[row.label] for column, found in scores.items() if row.label in found}
        )
        for row in rows
    )
    return JudgedTable(
        study=study,
        source=source,
        columns=tuple(columns),
        rows=judged_rows,
        protocol=joined_protocol(rows),
        notes=tuple(table_notes(judged_rows, columns, evidence, comparability)),
        factor=factor,
        folds=next((row.folds for row in rows if row.folds is not None), None),
    )


def _column(
    column: str, rows: Sequence[RowRuns], evidence: Mapping[str, Mapping[str, Evidence]], comparability: Comparability
) -> dict[str, Score]:
    """Label -> score in one column, of all rows that have one."""
    metric = split_and_metric(column)[1]
    known = {row.label: found for row in rows if (found := evidence[row.label].get(column)) is not None}
    seeds = [found.values for found in known.values() if isinstance(found, SeedEvidence) and found.right is not None]
    # Other metrics are judged over seeds alone, by a plain t test, which takes no usual spread.
    usual = usual_spread(seeds) if metric in PER_IMAGE else None
    scores = {row.label: _score(metric, known[row.label], usual, row.published.get(column)) for row in rows if row.label in known}
    comparisons = {
        label: compared(found, known[comparability.baseline.label], usual)
        for label, found in known.items()
        if comparability.comparable(label, column)
    }
    higher = next(
        (way[metric] for row in rows for run in row.runs if metric in (way := run.result.own_metrics)),
        metric not in LESS_IS_BETTER,
    )
    # Each column is a question of its own, so the correction counts its rows alone.
    corrected = holm([comparison.p for comparison in comparisons.values()])
    for (label, comparison), p in zip(comparisons.items(), corrected, strict=True):
        scores[label] = replace(scores[label], difference=judged_difference(metric, comparison, p, higher))
    return scores


def _score(metric: str, found: Evidence, usual: SeedSpread | None, published: Published | None) -> Score:
    estimate = found.estimate(usual)
    low, high = estimate.interval()
    # A t interval of a fraction may leave [0, 1], where no mean can be.
    if in_percent(metric):
        low, high = float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))
    score = Score(
        n=found.n,
        images=found.count,
        mean=estimate.value,
        sd=float(found.values.std(ddof=1)) if found.n > 1 else np.nan,
        low=low,
        high=high,
        over_images=found.over_images,
    )
    if published is None:
        return score
    unit = 100 if in_percent(metric) else 1
    agrees = None
    # A published number is one run, so it is compared with where one more run would be, not with the interval of the mean.
    if (another := found.another()) is not None:
        agrees = within(published.value, another, unit)
    return replace(score, published=published, gap=unit * score.mean - published.value, agrees=agrees)


def _table_row(row: RowRuns, baseline: bool, scores: dict[str, Score]) -> TableRow:
    results = [run.result for run in row.runs]
    return TableRow(
        label=row.label,
        baseline=baseline,
        seeds=row.seeds,
        finished=tuple(sorted((run.header.repeat for run in row.runs), key=lambda repeat: repeat.place)),
        stale=sum(run.stale for run in row.runs),
        failures=row.failures,
        scores=scores,
        published=dict(row.published),
        factor=row.factor,
        parameters=results[0].parameters if results else None,
        macs=results[0].macs if results else None,
        seconds=float(np.mean([result.seconds for result in results])) if results else None,
        peak_memory_mb=float(np.mean([result.peak_memory_mb for result in results])) if results else None,
        folds=row.folds,
        by_class=judged_by_class(row),
        published_by_class=dict(row.by_class),
    )
