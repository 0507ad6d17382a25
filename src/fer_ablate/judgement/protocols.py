"""Whether rows were tested alike: by the same protocol, on the same images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fer_ablate.errors import UserError
from fer_ablate.judgement.evidence import Known
from fer_ablate.judgement.records import RowRuns

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

_UNKNOWN = "unknown"
_NAMED = 3
"""Rows named in one remark; more are counted."""


@dataclass(frozen=True)
class Likeness:
    """Which rows of a table may be compared with its baseline.

    Args:
        baseline: that row.
        rows: by label.
        evidence: label -> column -> what the runs tell.
    """

    baseline: RowRuns
    rows: Mapping[str, RowRuns]
    evidence: Mapping[str, Mapping[str, Known]]

    def comparable(self, label: str, column: str) -> bool:
        """Whether a row and the baseline, both there and not the same, were tested alike in a column."""
        there = label != self.baseline.label and all(column in self.evidence[name] for name in (label, self.baseline.label))
        return there and self.same_protocol(label) and self.same_images(label, column)

    def same_protocol(self, label: str) -> bool:
        """Whether all runs of a row and of the baseline were tested in the same way."""
        return not unlike([self.rows[label], self.baseline])

    def same_images(self, label: str, column: str) -> bool:
        """Whether all runs of a row and of the baseline that tell about a column were tested on the same images."""
        digests = {run.header.data_digest for row in (self.rows[label], self.baseline) for run in row.runs}
        one, other = self.evidence[label][column], self.evidence[self.baseline.label][column]
        return len(digests) == 1 and one.same_images(other)


def unlike(rows: Iterable[RowRuns]) -> dict[str, dict[str, list[str]]]:
    """Parts of the protocol in which the runs of some rows differ: part -> value -> labels of the rows."""
    protocols = [(row.label, run.result.protocol) for row in rows for run in row.runs]
    found: dict[str, dict[str, list[str]]] = {}
    for part in dict.fromkeys(part for _, protocol in protocols for part in protocol):
        values: dict[str, list[str]] = {}
        for label, protocol in protocols:
            labels = values.setdefault(protocol.get(part, _UNKNOWN), [])
            if label not in labels:
                labels.append(label)
        if len(values) > 1:
            found[part] = values
    return found


def check_protocols(rows: Sequence[RowRuns]) -> None:
    """Refuse rows that were not tested alike; `UserError` names them and the keys."""
    if found := unlike(rows):
        lines = [
            f"  {CONFIG_KEYS.get(part, part)}: " + "; ".join(f"{value} in {named(labels)}" for value, labels in values.items())
            for part, values in found.items()
        ]
        way_out = "Give all rows the same, or put them into one table all the same with study.mixed_protocols=true."
        raise UserError(
            "\n".join(["These rows were not tested alike, so their numbers do not belong into one column:", *lines, way_out])
        )


def joined_protocol(rows: Sequence[RowRuns]) -> dict[str, str]:
    """How all runs were tested; unlike values joined by ` / `."""
    found: dict[str, str] = {}
    differing = unlike(rows)
    for row in rows:
        for run in row.runs:
            for part, value in run.result.protocol.items():
                found[part] = " / ".join(differing[part]) if part in differing else value
    return found


def named(labels: Sequence[str]) -> str:
    """`a, b, c and 4 more`."""
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return ", ".join(labels[:_NAMED]) + more
