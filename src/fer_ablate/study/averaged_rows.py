"""The rows of a plan that are not trained but average the networks of others: which runs make each average."""

from collections.abc import Mapping
from dataclasses import dataclass

from fer_ablate.config.averaged_rows import FEWEST
from fer_ablate.config.choices import AverageOver
from fer_ablate.config.study_rows import Repeat, Row
from fer_ablate.study.plan import Plan, PlannedRun
from fer_ablate.tracking.disk.run_state import RunState

SHOWN_MEMBERS = 3
"""Unfinished members named in a reason; the others are counted."""


@dataclass(frozen=True)
class AveragedNetwork:
    """An average of networks: one result of such a row.

    Args:
        row: of the average.
        repeat: seed and fold; of an average over seeds, those of its first member.
        members: runs whose predictions are averaged, row by row and seed by seed.
        missing: those of them that have no result yet.
    """

    row: Row
    repeat: Repeat
    members: tuple[PlannedRun, ...]
    missing: tuple[PlannedRun, ...]

    @property
    def state(self) -> RunState:
        """Finished as soon as all members are."""
        return RunState.missing if self.reason else RunState.finished

    @property
    def reason(self) -> str:
        """Why there is no average yet, for people; empty if there is one."""
        if self.missing:
            more = f" and {len(self.missing) - SHOWN_MEMBERS} more" if len(self.missing) > SHOWN_MEMBERS else ""
            return f"members not finished: {'; '.join(run.cell.name for run in self.missing[:SHOWN_MEMBERS])}{more}"
        return "one network alone is no average: give more seeds" if len(self.members) < FEWEST else ""


def averaged_networks(plan: Plan) -> list[AveragedNetwork]:
    """Every average that a plan shows, row by row, by seed and fold."""
    runs: dict[str, dict[Repeat, PlannedRun]] = {}
    for planned in plan.runs:
        runs.setdefault(planned.cell.row.label, {})[planned.cell.repeat] = planned
    chosen = plan.spec.switches.select
    shown = [row for row in plan.spec.rows if row.average_of and (not chosen or row.label in chosen)]
    return [network for row in shown for network in _networks(row, runs, plan.spec.switches.accept_stale)]


def _networks(row: Row, runs: Mapping[str, Mapping[Repeat, PlannedRun]], accept_stale: bool) -> list[AveragedNetwork]:
    groups: dict[Repeat | int | None, list[PlannedRun]] = {}
    for label in row.average_of:
        for repeat, planned in runs[label].items():
            # Networks of different folds were tested on different images, so each fold has an average of its own.
            group = repeat.fold if row.average_over is AverageOver.seeds else repeat
            groups.setdefault(group, []).append(planned)
    return [
        AveragedNetwork(
            row,
            members[0].cell.repeat,
            tuple(members),
            tuple(one for one in members if one.state is not RunState.finished and not (accept_stale and one.stale is not None)),
        )
        for members in groups.values()
    ]
