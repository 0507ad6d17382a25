"""What a study says about its table: the columns, the baseline, and how differences are judged."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fer_ablate.judgement.data_sets import Layout, layout_of
from fer_ablate.judgement.designs import Design, design_of
from fer_ablate.judgement.planned_rows import shown_baseline
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.study.plan import Plan


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """A table to be judged.

    Args:
        study: name.
        source: document and table that the study reproduces.
        baseline: label of the row that the others are compared with.
        columns: `<split>/<metric>` each, such as `test/acc`.
        mixed_protocols: allow rows that used different protocols; those that differ from the baseline are not compared with it.
        factor: the swept key.
        own_metrics: names of metrics of the user's own, which columns may show.
        margin: in points; rows whose scores in percent differ from the baseline's by less count as the same.
        looks: numbers of seeds after which the table is looked at while seeds are added; empty: it is not.
        design: of the rows, if they are combinations of the levels of some factors.
        tested: label -> part that is scored, such as `test` -> digest of its images.
    """

    study: str
    baseline: str
    columns: Sequence[str]
    source: str = ""
    mixed_protocols: bool = False
    factor: str | None = None
    own_metrics: Collection[str] = ()
    margin: float | None = None
    looks: tuple[int, ...] = ()
    design: Design | None = None
    tested: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def deciding(self) -> str:
        """The column by which rows get no more seeds."""
        return deciding_column(self.columns)

    @cached_property
    def layout(self) -> Layout | None:
        """The data sets of the rows; None if they are not crossed with several."""
        return layout_of(self.design, self.baseline)

    def references(self, rows: Sequence[RowRuns]) -> dict[str, str]:
        """Label -> label of the row with the settings of the baseline on the same data, of rows on several data sets."""
        labels = {row.label for row in rows}
        twins = self.layout.twins if self.layout is not None else {}
        return {label: twin for label, twin in twins.items() if {label, twin} <= labels}

    def blocks(self, rows: Sequence[RowRuns]) -> dict[str, list[RowRuns]]:
        """Label of a row that others are compared with -> these rows and it: one of all, or one of each data set."""
        references = self.references(rows)
        found: dict[str, list[RowRuns]] = {}
        for row in rows:
            found.setdefault(references.get(row.label, self.baseline), []).append(row)
        return found


def deciding_column(columns: Sequence[str]) -> str:
    """The first column of the test images, or else the last one."""
    return next((column for column in columns if column.startswith("test/")), columns[-1])


def table_spec(plan: Plan, rows: Sequence[RowRuns]) -> TableSpec:
    """The table of a planned study.

    Args:
        plan: of the study.
        rows: its rows with runs.
    """
    spec, study = plan.spec, plan.spec.study
    return TableSpec(
        study=spec.name,
        source=study.source,
        baseline=shown_baseline(plan, rows),
        columns=study.columns,
        mixed_protocols=study.mixed_protocols,
        factor=spec.factor,
        own_metrics={name for planned in plan.runs for name in planned.cell.config.evaluation.metrics},
        margin=study.margin,
        looks=spec.looks,
        design=design_of(plan),
        tested={planned.cell.row.label: planned.cell.tested for planned in plan.runs},
    )
