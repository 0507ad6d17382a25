"""Before a study is trained: how many seeds show a difference of a given size, and what they cost (`plan detect=1.0`)."""

from collections.abc import Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING

from fer_ablate.cli import console
from fer_ablate.data.load import load_faces
from fer_ablate.judgement.planned_rows import rows_with_runs
from fer_ablate.judgement.protocols import sharing_runs
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.metrics import in_percent
from fer_ablate.report.quantities import duration
from fer_ablate.study.plan import Plan
from fer_ablate.tracking.disk.run_state import RunState
from fer_ablate.training.role_set import assigned_rows

if TYPE_CHECKING:
    from fer_ablate.judgement.power import Noise

ASSUMED_IMAGES, ASSUMED_DISAGREEMENT, ASSUMED_SEEDS = 0.097, 0.103, 4.0e-5
"""Variances of two small networks on FER2013 (benchmarks/real_noise.py, 24 seeds each): between images of the difference of their
shares of right runs; between runs on one image, mean over images; and between runs beyond that."""


def detection_facts(plan: Plan, points: float) -> list[tuple[str, str]]:
    """What a study can show, and with how many seeds it shows a difference of so many points, as facts to print."""
    from fer_ablate.judgement.power import MOST_SEEDS, POWER, power_with, seeds_needed, smallest_told
    from fer_ablate.judgement.table_spec import deciding_column

    column, difference = deciding_column(plan.spec.study.columns), points / 100
    if plan.spec.folds is not None:
        return [("detect", "not for folds: more seeds of the same folds show hardly more")]
    if not in_percent(column.partition("/")[2]):
        return [("detect", f"not for {column}, which is not in percent")]
    labels = list(dict.fromkeys(planned.cell.row.label for planned in plan.runs))
    # Rows that come to the same configuration are one.
    keys = {frozenset(planned.cell.key for planned in plan.runs if planned.cell.row.label == label) for label in labels}
    others, seeds = max(len(keys) - 1, 1), len({planned.cell.config.seed for planned in plan.runs})
    noise, source = _noise(plan, column)
    wanted = f"a difference of {points:g} point{'' if points == 1 else 's'} in {column}"
    least = smallest_told(noise, others)
    if difference <= least:
        found = f"{wanted}: no number of seeds shows it on these images; {100 * least:.1f} points are the least"
    elif (needed := seeds_needed(noise, difference, others)) is None:
        found = f"{wanted}: more than {MOST_SEEDS} seeds are needed"
    else:
        cost = _cost(plan, needed)
        found = f"{wanted}: {needed} seeds show it in {100 * POWER:.0f} % of such tables ({cost})"
    planned = f"; the planned {seeds} do in {100 * power_with(noise, difference, seeds, others):.0f} %" if seeds > 1 else ""
    return [("detect", found + planned), ("detect", f"spreads {source}")]


def _noise(plan: Plan, column: str) -> tuple["Noise", str]:
    """The noise of a comparison, from finished runs or else assumed; and which of both, in words."""
    from fer_ablate.judgement.evidence import SeedEvidence, row_evidence
    from fer_ablate.judgement.power import Noise, noise_of
    from fer_ablate.judgement.statistics import usual_spread

    rows = _once_each([row for row in rows_with_runs(plan) if len(row.runs) > 1], plan.spec.baseline)
    known = [row_evidence(row, [column]).get(column) for row in rows]
    found = [drawn for one in known if isinstance(one, SeedEvidence) and (drawn := one.drawn) is not None]
    images = {scores.shape[1] for scores, _ in found}
    count = len({planned.cell.row.label for planned in plan.runs})
    if len(found) > 1 and len(images) == 1:
        scores, share = [one for one, _ in found], found[0][1]
        usual = usual_spread(scores)
        each = [noise_of(one, scores[0], usual, len(scores), share) for one in scores[1:]]
        middle = {name: median(getattr(one, name) for one in each) for name in ("images", "row", "baseline", "explained")}
        return Noise(**middle, images_df=each[0].images_df, rows=count if count > 2 else 0), f"are those of {len(found)} rows"
    tested = _tested_images(plan)
    run = ASSUMED_SEEDS + ASSUMED_DISAGREEMENT / tested
    noise = Noise(ASSUMED_IMAGES / tested, tested - 1, run, run, 2 * ASSUMED_DISAGREEMENT / tested, count if count > 2 else 0)
    return noise, f"are assumed, from two small networks on FER2013, for {tested:,} test images: no two rows have several seeds"


def _once_each(rows: Sequence[RowRuns], baseline: str) -> list[RowRuns]:
    """Rows without those that have the runs of another one; the baseline first."""
    ordered = sorted(rows, key=lambda row: row.label != baseline)
    twins = sharing_runs(ordered)
    return [row for row in ordered if row.label not in twins]


def _tested_images(plan: Plan) -> int:
    config = plan.runs[0].cell.config
    given, _ = assigned_rows(config, load_faces(config.data, plugins=config.plugins))
    return max(len(given.rows["test"]), 2)


def _cost(plan: Plan, seeds: int) -> str:
    """What so many seeds of each row cost."""
    rows: dict[str, int] = {}
    for planned in {planned.cell.key: planned for planned in plan.runs}.values():
        rows[planned.cell.row.label] = rows.get(planned.cell.row.label, 0) + (planned.state is RunState.finished)
    runs = console.counted(seeds * len(rows), "run")
    seconds = [planned.folder.result.seconds for planned in plan.runs if planned.state is RunState.finished]
    missing = sum(max(seeds - done, 0) for done in rows.values())
    if not missing:
        return f"{runs}, all finished"
    if not seconds:
        return f"{runs}; no run is finished yet to estimate the time from"
    return f"{runs}, {missing} of them missing, about {duration(fmean(seconds) * missing)} one after another"
