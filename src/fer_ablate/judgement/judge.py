"""Judges a study: its finished runs go in, a `JudgedTable` comes out.

The arithmetic is in `statistics`, the wording of differences in `verdicts`, that of notes in `table_notes`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fer_ablate.errors import UserError, choices
from fer_ablate.judgement.class_scores import judged_by_class, within
from fer_ablate.judgement.data_sets import ranked_data_sets
from fer_ablate.judgement.doubtful_units import doubtful_unit
from fer_ablate.judgement.effects import judged_effects
from fer_ablate.judgement.evidence import Evidence, SeedEvidence, check_columns, row_evidence, split_and_metric
from fer_ablate.judgement.judged_table import JudgedTable, Published, Score, TableRow
from fer_ablate.judgement.protocols import Comparability, check_protocols, joined_protocol
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.judgement.sequential import Column, Ended, judged_in_looks
from fer_ablate.judgement.statistics import SeedSpread, usual_spread
from fer_ablate.judgement.table_notes import table_notes
from fer_ablate.judgement.table_spec import TableSpec
from fer_ablate.judgement.verdicts import compared, judged_differences, near_best, same_runs
from fer_ablate.judgement.wording import Judging, possible
from fer_ablate.metrics import higher_is_better, in_percent


def build_table(spec: TableSpec, rows: Sequence[RowRuns]) -> JudgedTable:
    """Judge the finished runs of a study.

    Args:
        spec: what the study says about its table.
        rows: in order.

    Raises:
        UserError: a column or the baseline does not exist, or rows used different protocols.
    """
    _check(spec, rows)
    evidence = {row.label: row_evidence(row, spec.columns) for row in rows}
    comparability = _comparability(spec, rows, evidence)
    scores: dict[str, dict[str, Score]] = {column: {} for column in spec.columns}
    for block in _blocks(spec, rows, comparability):
        for column in spec.columns:
            scores[column] |= _column(spec, column, *block)
    judged_rows = tuple(
        _table_row(
            row, row.label == spec.baseline, {column: found[row.label] for column, found in scores.items() if row.label in found}
        )
        for row in rows
    )
    higher = {column: _higher_is_better(split_and_metric(column)[1], rows) for column in spec.columns}
    layout = spec.layout
    # Of scores on different data sets no effects can be taken.
    factors = spec.design if layout is None else None
    return JudgedTable(
        study=spec.study,
        source=spec.source,
        columns=tuple(spec.columns),
        rows=judged_rows,
        protocol=joined_protocol(rows),
        notes=tuple(table_notes(judged_rows, spec.columns, evidence, comparability, spec.margin, spec.looks)),
        factor=spec.factor,
        folds=next((row.folds for row in rows if row.folds is not None), None),
        margin=spec.margin,
        higher_is_better=higher,
        effects=judged_effects(factors, spec.columns, judged_rows, evidence, comparability, spec.looks) if factors else None,
        data_sets=ranked_data_sets(layout, spec.columns, judged_rows, higher, spec.tested) if layout is not None else None,
    )


def outcomes_by_looks(spec: TableSpec, rows: Sequence[RowRuns]) -> dict[str, dict[str, Ended]]:
    """Label of a row that others are compared with -> label -> how the comparison of a row came out so far.

    Args:
        spec: of a table that is looked at several times; its deciding column is judged.
        rows: in order.
    """
    evidence = {row.label: row_evidence(row, [spec.deciding]) for row in rows}
    return {
        own.baseline.label: _by_looks(spec, _compared(spec, spec.deciding, block, own), block, deciding=True)
        for block, own in _blocks(spec, rows, _comparability(spec, rows, evidence))
    }


def _check(spec: TableSpec, rows: Sequence[RowRuns]) -> None:
    check_columns(spec.columns, spec.own_metrics)
    labels = [row.label for row in rows]
    if spec.baseline not in labels:
        raise UserError(f"study.baseline: there is no row {spec.baseline!r}. {choices(spec.baseline, labels)}")
    if not spec.mixed_protocols:
        for block in spec.blocks(rows).values():
            check_protocols(block)


def _comparability(spec: TableSpec, rows: Sequence[RowRuns], evidence: Mapping[str, Mapping[str, Evidence]]) -> Comparability:
    by_label = {row.label: row for row in rows}
    return Comparability(by_label[spec.baseline], by_label, evidence, spec.references(rows), spec.tested)


def _blocks(
    spec: TableSpec, rows: Sequence[RowRuns], comparability: Comparability
) -> Iterator[tuple[list[RowRuns], Comparability]]:
    """The rows that are compared with one of them, and how: all rows, or those of each data set."""
    for label, block in spec.blocks(rows).items():
        yield block, replace(comparability, baseline=comparability.rows[label])


@dataclass(frozen=True)
class _Compared:
    """What a column has to compare.

    Args:
        judging: how differences are put into verdicts.
        known: label -> scores of every row that has some.
        labels: rows that are compared with the baseline.
        twins: rows that have the runs of the baseline.
        baseline: its label.
    """

    judging: Judging
    known: Mapping[str, Evidence]
    labels: Sequence[str]
    twins: Sequence[str]
    baseline: str


def _compared(spec: TableSpec, column: str, rows: Sequence[RowRuns], comparability: Comparability) -> _Compared:
    metric = split_and_metric(column)[1]
    known = {row.label: found for row in rows if (found := comparability.evidence[row.label].get(column)) is not None}
    twins = [label for label in known if comparability.same_runs(label)]
    return _Compared(
        judging=Judging.of(metric, _higher_is_better(metric, rows), spec.margin),
        known=known,
        labels=[label for label in known if label not in twins and comparability.comparable(label, column)],
        twins=twins,
        baseline=comparability.baseline.label,
    )


def _higher_is_better(metric: str, rows: Sequence[RowRuns]) -> bool | None:
    return higher_is_better(metric, (run.result.own_metrics for row in rows for run in row.runs))


def _by_looks(spec: TableSpec, found: _Compared, rows: Sequence[RowRuns], deciding: bool) -> dict[str, Ended]:
    # A seed that failed is not made up for by a later one: what counts are the seeds up to it.
    counts = {row.label: _unbroken(row) for row in rows}
    known = {label: one for label, one in found.known.items() if isinstance(one, SeedEvidence) and counts[label]}
    scores = {label: one.first(counts[label]) for label, one in known.items()}
    if found.baseline not in scores:
        return {}
    compare = {label: scores[label] for label in found.labels if label in scores}
    # A row without any run yet is compared later, so the levels allow for it now.
    planned = len(found.labels) + sum(not row.runs for row in rows)
    column = Column(found.judging, compare, scores[found.baseline], list(scores.values()), deciding, planned)
    return judged_in_looks(column, spec.looks)


def _unbroken(row: RowRuns) -> int:
    """Number of its first seeds that are finished, ascending as in `SeedEvidence`: seeds that are added are the highest."""
    ready = {run.header.seed for run in row.runs}
    return next((count for count, seed in enumerate(sorted(row.seeds)) if seed not in ready), len(row.seeds))


def _column(spec: TableSpec, column: str, rows: Sequence[RowRuns], comparability: Comparability) -> dict[str, Score]:
    """Label -> score in one column, of all rows that have one."""
    found = _compared(spec, column, rows, comparability)
    # Other metrics are judged over seeds alone, by a plain t test, which takes no usual spread.
    repeated = [one[0] for each in found.known.values() if isinstance(each, SeedEvidence) and (one := each.drawn) is not None]
    usual, count = usual_spread(repeated), sum(len(scores) > 1 for scores in repeated)
    published = {row.label: row.published.get(column) for row in rows}
    scores = {label: _score(found.judging.metric, one, usual, published[label]) for label, one in found.known.items()}
    if spec.looks:
        ended = _by_looks(spec, found, rows, deciding=column == spec.deciding)
        differences = {label: one.difference for label, one in ended.items()}
    else:
        # Each column is a question of its own, so the correction counts its rows alone.
        baseline = found.known.get(found.baseline)
        comparisons = [compared(found.known[label], baseline, usual, count) for label in found.labels if baseline is not None]
        differences = dict(zip(found.labels, judged_differences(found.judging, comparisons), strict=True))
    differences |= {label: same_runs(found.baseline) for label in found.twins}
    among = {label: one for label, one in found.known.items() if label in (*found.labels, found.baseline)}
    near = near_best(found.judging, among, usual) if not spec.looks else {}
    return {
        label: replace(score, difference=differences.get(label), near_best=near.get(label)) for label, score in scores.items()
    }


def _score(metric: str, found: Evidence, usual: SeedSpread | None, published: Published | None) -> Score:
    estimate = found.estimate(usual)
    low, high = possible(metric, estimate.interval())
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
    if doubtful_unit(metric, published.value):
        return replace(score, published=published)
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
