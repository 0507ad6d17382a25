"""Judges a study: its finished runs go in, a `JudgedTable` comes out.

The arithmetic is in `statistics`, the wording of differences in `verdicts`, that of notes in `table_notes`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fer_ablate.errors import UserError, choices
from fer_ablate.judgement.class_scores import judged_by_class, maybe_a_fraction, within
from fer_ablate.judgement.data_sets import layout_of, ranked_data_sets
from fer_ablate.judgement.designs import Design
from fer_ablate.judgement.effects import judged_effects
from fer_ablate.judgement.evidence import Evidence, SeedEvidence, check_columns, row_evidence, split_and_metric
from fer_ablate.judgement.judged_table import JudgedTable, Published, Score, TableRow
from fer_ablate.judgement.protocols import Comparability, check_protocols, joined_protocol
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.judgement.sequential import Column, Ended, judged_in_looks
from fer_ablate.judgement.statistics import SeedSpread, usual_spread
from fer_ablate.judgement.table_notes import table_notes
from fer_ablate.judgement.verdicts import compared, judged_differences, near_best, same_runs
from fer_ablate.judgement.wording import Judging
from fer_ablate.metrics import higher_is_better, in_percent


def build_table(
    study: str,
    source: str,
    rows: Sequence[RowRuns],
    baseline: str,
    columns: Sequence[str],
    mixed_protocols: bool = False,
    factor: str | None = None,
    own_metrics: Collection[str] = (),
    margin: float | None = None,
    looks: tuple[int, ...] = (),
    design: Design | None = None,
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
        looks: numbers of seeds after which the table was looked at while seeds were added; empty: it was not.
        margin: in points; rows whose scores in percent differ from the baseline's by less count as the same.
        design: of the rows, if they are combinations of the levels of some factors.

    Raises:
        UserError: a column or the baseline does not exist, or rows used different protocols.
    """
    check_columns(columns, own_metrics)
    labels = [row.label for row in rows]
    if baseline not in labels:
        raise UserError(f"study.baseline: there is no row {baseline!r}. {choices(baseline, labels)}")
    layout = layout_of(design, baseline)
    # Seeds are added by comparisons with the one baseline, so these decide there.
    twins = {label: twin for label, twin in layout.twins.items() if {label, twin} <= {*labels}} if layout and not looks else {}
    blocks = _blocks(rows, baseline, twins)
    for block in blocks.values() if not mixed_protocols else ():
        check_protocols(block)
    evidence = {row.label: row_evidence(row, columns) for row in rows}
    comparability = Comparability(rows[labels.index(baseline)], {row.label: row for row in rows}, evidence, twins)
    decides = deciding_column(columns)
    scores: dict[str, dict[str, Score]] = {column: {} for column in columns}
    for reference, block in blocks.items():
        own = replace(comparability, baseline=comparability.rows[reference])
        for column in columns:
            scores[column] |= _column(column, block, own, margin, looks, column == decides)
    judged_rows = tuple(
        _table_row(
            row, row.label == baseline, {column: found[row.label] for column, found in scores.items() if row.label in found}
        )
        for row in rows
    )
    higher = {column: _higher_is_better(split_and_metric(column)[1], rows) for column in columns}
    # Of scores on different data sets no effects can be taken.
    factors = design if layout is None else None
    return JudgedTable(
        study=study,
        source=source,
        columns=tuple(columns),
        rows=judged_rows,
        protocol=joined_protocol(rows),
        notes=tuple(table_notes(judged_rows, columns, evidence, comparability, margin, looks)),
        factor=factor,
        folds=next((row.folds for row in rows if row.folds is not None), None),
        margin=margin,
        higher_is_better=higher,
        effects=judged_effects(factors, columns, judged_rows, evidence, comparability, looks) if factors is not None else None,
        data_sets=ranked_data_sets(layout, columns, judged_rows, higher) if layout is not None else None,
    )


def _blocks(rows: Sequence[RowRuns], baseline: str, twins: Mapping[str, str]) -> dict[str, list[RowRuns]]:
    """Label of a row that others are compared with -> these rows and it: one of all, or one of each data set."""
    found: dict[str, list[RowRuns]] = {}
    for row in rows:
        found.setdefault(twins.get(row.label, baseline), []).append(row)
    return found


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


def deciding_column(columns: Sequence[str]) -> str:
    """The column by which rows get no more seeds: the first one of the test images, or else the last one."""
    return next((column for column in columns if column.startswith("test/")), columns[-1])


def outcomes_by_looks(
    rows: Sequence[RowRuns], baseline: str, column: str, looks: tuple[int, ...], margin: float | None = None
) -> dict[str, Ended]:
    """Label -> how the comparison of a row came out so far, of every row that is compared with the baseline.

    Args:
        rows: in order.
        baseline: label of the row that the others are compared with.
        column: that decides, such as `test/acc`.
        looks: numbers of seeds after which the table is looked at.
        margin: in points.
    """
    evidence = {row.label: row_evidence(row, [column]) for row in rows}
    comparability = Comparability(next(row for row in rows if row.label == baseline), {row.label: row for row in rows}, evidence)
    return _by_looks(_compared(column, rows, comparability, margin), rows, looks, deciding=True)


def _compared(column: str, rows: Sequence[RowRuns], comparability: Comparability, margin: float | None) -> _Compared:
    metric = split_and_metric(column)[1]
    known = {row.label: found for row in rows if (found := comparability.evidence[row.label].get(column)) is not None}
    twins = [label for label in known if comparability.same_runs(label)]
    fraction = margin / 100 if margin is not None and in_percent(metric) else None
    return _Compared(
        judging=Judging(metric, _higher_is_better(metric, rows), fraction),
        known=known,
        labels=[label for label in known if label not in twins and comparability.comparable(label, column)],
        twins=twins,
        baseline=comparability.baseline.label,
    )


def _higher_is_better(metric: str, rows: Sequence[RowRuns]) -> bool | None:
    return higher_is_better(metric, (run.result.own_metrics for row in rows for run in row.runs))


def _by_looks(found: _Compared, rows: Sequence[RowRuns], looks: tuple[int, ...], deciding: bool) -> dict[str, Ended]:
    # A seed that failed is not made up for by a later one: what counts are the seeds up to it.
    counts = {row.label: _unbroken(row) for row in rows}
    known = {label: one for label, one in found.known.items() if isinstance(one, SeedEvidence) and counts[label]}
    scores = {label: one.first(counts[label]) for label, one in known.items()}
    if found.baseline not in scores:
        return {}
    compare = {label: scores[label] for label in found.labels if label in scores}
    every = list(scores.values())
    return judged_in_looks(Column(found.judging, compare, scores[found.baseline], every, deciding), looks)


def _unbroken(row: RowRuns) -> int:
    """Number of its first seeds that are finished."""
    ready = {run.header.seed for run in row.runs}
    return next((count for count, seed in enumerate(row.seeds) if seed not in ready), len(row.seeds))


def _column(
    column: str,
    rows: Sequence[RowRuns],
    comparability: Comparability,
    margin: float | None,
    looks: tuple[int, ...],
    deciding: bool,
) -> dict[str, Score]:
    """Label -> score in one column, of all rows that have one."""
    found = _compared(column, rows, comparability, margin)
    # Other metrics are judged over seeds alone, by a plain t test, which takes no usual spread.
    repeated = [one[0] for each in found.known.values() if isinstance(each, SeedEvidence) and (one := each.drawn) is not None]
    usual, count = usual_spread(repeated), sum(len(scores) > 1 for scores in repeated)
    published = {row.label: row.published.get(column) for row in rows}
    scores = {label: _score(found.judging.metric, one, usual, published[label]) for label, one in found.known.items()}
    if looks:
        differences = {label: one.difference for label, one in _by_looks(found, rows, looks, deciding).items()}
    else:
        # Each column is a question of its own, so the correction counts its rows alone.
        baseline = found.known.get(found.baseline)
        comparisons = [compared(found.known[label], baseline, usual, count) for label in found.labels if baseline is not None]
        differences = dict(zip(found.labels, judged_differences(found.judging, comparisons), strict=True))
    differences |= {label: same_runs(found.baseline) for label in found.twins}
    among = {label: one for label, one in found.known.items() if label in (*found.labels, found.baseline)}
    near = near_best(found.judging, among, usual) if not looks else {}
    return {
        label: replace(score, difference=differences.get(label), near_best=near.get(label)) for label, score in scores.items()
    }


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
    if maybe_a_fraction(metric, published.value):
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
