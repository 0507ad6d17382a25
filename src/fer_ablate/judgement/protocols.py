"""Evaluation protocols: which rows used the same one on the same images, and may therefore be compared."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fer_ablate.config.study_rows import Repeat
from fer_ablate.errors import UserError
from fer_ablate.judgement.row_runs import RowRuns

if TYPE_CHECKING:  # it loads scipy, which planning does without
    from fer_ablate.judgement.evidence import Evidence

CONFIG_KEYS = {
    "source": "data.source",
    "roles": "data.roles",
    "labels": "data.labels",
    "classes": "data.num_classes",
    "drop": "data.drop",
    "crop": "evaluation.crop",
    "tta": "evaluation.tta",
    "balance": "data.balance",
    "copies": "data.balance.steps",
    "images": "trainer.limit_test_batches",
    "folds": "data.folds",
}
"""Part of a protocol -> config key that sets it."""

WAY_OUT = "Give all rows the same protocol, or allow different ones in this table with study.mixed_protocols=true."

_UNKNOWN = "unknown"
_NAMED = 3
"""Rows named in one sentence; further ones are counted."""


@dataclass(frozen=True)
class Comparability:
    """Which rows of a table may be compared with its baseline.

    Args:
        baseline: the row that the others are compared with.
        rows: label -> row.
        evidence: label -> column -> scores of the runs.
        twins: label -> label of the row that takes the place of the baseline, of rows on several data sets.
        tested: label -> part that is scored, such as `test` -> digest of its images, as far as it is known.
    """

    baseline: RowRuns
    rows: Mapping[str, RowRuns]
    evidence: Mapping[str, Mapping[str, "Evidence"]]
    twins: Mapping[str, str] = field(default_factory=dict)
    tested: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def reference(self, label: str) -> RowRuns:
        """The row that a row is compared with: the baseline, or its twin on the same data set."""
        return self.rows[self.twins[label]] if label in self.twins else self.baseline

    def comparable(self, label: str, column: str) -> bool:
        """Whether a row, other than the baseline, and the baseline have comparable scores in a column."""
        other = self.reference(label).label
        scored = label != other and all(column in self.evidence[name] for name in (label, other))
        return scored and self.same_protocol(label) and self.same_images(label, column)

    def same_runs(self, label: str) -> bool:
        """Whether a row, other than the baseline, has the runs of the baseline: then nothing can be compared."""
        other = self.reference(label)
        return label != other.label and _same_runs(self.rows[label], other)

    def same_protocol(self, label: str) -> bool:
        """Whether all runs of a row and of the baseline used one protocol."""
        return not differing_protocols([self.rows[label], self.reference(label)])

    def same_images(self, label: str, column: str) -> bool:
        """Whether all runs of a row and of the baseline with a score in a column have the same data and tested images."""
        # Row numbers identify images only within the same data, so the digests must agree first.
        reference = self.reference(label)
        one, other = self.evidence[label][column], self.evidence[reference.label][column]
        return self.same_data(label) and one.same_images(other)

    def same_data(self, label: str) -> bool:
        """Whether all runs of a row and of the baseline read the same data, of which the images for training are a part."""
        return len({run.header.data_digest for row in (self.rows[label], self.reference(label)) for run in row.runs}) == 1

    def other_images(self, label: str, column: str) -> bool:
        """Whether a row that has not `same_images` is known to be tested on others; its data may differ in the rest alone."""
        part = column.partition("/")[0].removesuffix("_pooled")
        one, other = (self.tested.get(name, {}).get(part) for name in (label, self.reference(label).label))
        return self.same_data(label) or (one is not None and other is not None and one != other)


def sharing_runs(rows: Iterable[RowRuns]) -> dict[str, str]:
    """Label of a row -> label of the first row before it that has the same runs."""
    found, seen = dict[str, str](), dict[str, list[RowRuns]]()
    for row in rows:
        keys = _keys(row).values()
        others = [other for key in keys for other in seen.get(key, ())]
        if same := next((other for other in others if _same_runs(row, other)), None):
            found[row.label] = same.label
        for key in keys:
            seen.setdefault(key, []).append(row)
    return found


def _same_runs(one: RowRuns, other: RowRuns) -> bool:
    """Whether two rows have the same run wherever both have one: rows that differ by `${seed}` may share some runs alone."""
    first, second = _keys(one), _keys(other)
    both = first.keys() & second.keys()
    return bool(both) and all(first[repeat] == second[repeat] for repeat in both)


def _keys(row: RowRuns) -> dict[Repeat, str]:
    return {run.header.repeat: run.header.key for run in row.runs}


def differing_protocols(rows: Iterable[RowRuns]) -> dict[str, dict[str, list[str]]]:
    """Parts of the protocol in which the runs of some rows differ: part -> value -> labels of the rows."""
    return differing([(row.label, run.result.protocol) for row in rows for run in row.runs])


def differing(protocols: Sequence[tuple[str, Mapping[str, str]]], absent: str = _UNKNOWN) -> dict[str, dict[str, list[str]]]:
    """Parts in which protocols differ: part -> value -> labels of the rows.

    Args:
        protocols: label of a row, and the protocol of one of its runs.
        absent: value of a part that a protocol does not state. A stored one may have had any, so it counts as another one.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for part in dict.fromkeys(part for _, protocol in protocols for part in protocol):
        values: dict[str, list[str]] = {}
        for label, protocol in protocols:
            labels = values.setdefault(protocol.get(part, absent), [])
            if label not in labels:
                labels.append(label)
        if len(values) > 1:
            found[part] = values
    return found


def check_protocols(rows: Sequence[RowRuns]) -> None:
    """Refuse rows that used different protocols; `UserError` names the rows and the keys."""
    if found := differing_protocols(rows):
        problem = "These rows used different evaluation protocols and cannot share a column:"
        raise UserError("\n".join([problem, *(f"  {line}" for line in protocol_lines(found)), WAY_OUT]))


def protocol_lines(found: Mapping[str, Mapping[str, Sequence[str]]]) -> list[str]:
    """Lines such as `evaluation.tta: none in a; mirror in b and 2 more` about what `differing` found."""
    return [
        f"{CONFIG_KEYS.get(part, part)}: " + "; ".join(f"{value} in {first_labels(labels)}" for value, labels in values.items())
        for part, values in found.items()
    ]


def joined_protocol(rows: Sequence[RowRuns]) -> dict[str, str]:
    """The protocol of all runs; values that differ are joined by ` / `."""
    found: dict[str, str] = {}
    differing = differing_protocols(rows)
    for row in rows:
        for run in row.runs:
            for part, value in run.result.protocol.items():
                found[part] = " / ".join(differing[part]) if part in differing else value
    return found


def first_labels(labels: Sequence[str]) -> str:
    """The first labels, such as `a, b, c and 4 more`."""
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return ", ".join(labels[:_NAMED]) + more
