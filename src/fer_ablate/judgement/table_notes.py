"""What belongs below a judged table for it not to be misread: a sentence for each thing, none where all is as usual."""

from collections.abc import Iterator, Mapping, Sequence
from math import isnan

from fer_ablate.judgement.evidence import INHERENT, TRAINED_ON, Evidence, FoldEvidence, Known, split_and_metric
from fer_ablate.judgement.protocols import CONFIG_KEYS, Likeness, named, unlike
from fer_ablate.judgement.records import TableRow
from fer_ablate.judgement.split_images import PER_IMAGE
from fer_ablate.judgement.verdicts import widened

Found = Mapping[str, Mapping[str, Known]]
"""Label -> column -> what the runs tell."""


def remarks(rows: Sequence[TableRow], columns: Sequence[str], evidence: Found, likeness: Likeness) -> Iterator[str]:
    """Sentences about a table, the gravest first."""
    yield from _unlike(rows, columns, likeness)
    yield from _absent(rows, columns)
    yield from _cross_validated(rows, columns, likeness)
    yield from _seeds_alone(columns, evidence)
    yield from _single(rows)
    yield from _corrected(rows, columns)


def _unlike(rows: Sequence[TableRow], columns: Sequence[str], likeness: Likeness) -> Iterator[str]:
    there = [row.label for row in rows if row.scores and not row.baseline]
    parts = [CONFIG_KEYS.get(part, part) for part in unlike(likeness.rows.values())]
    others = [label for label in there if not likeness.same_protocol(label)]
    if parts:
        which = f": {named(others)} not compared with the baseline" if others else ""
        yield f"Not all rows were tested alike ({', '.join(parts)}){which}."
    moved: dict[tuple[str, ...], list[str]] = {}
    for column in columns:
        base = column in likeness.evidence[likeness.baseline.label]
        alike = [label for label in there if base and label not in others and column in likeness.evidence[label]]
        moved.setdefault(tuple(label for label in alike if not likeness.same_images(label, column)), []).append(column)
    for labels, concerned in moved.items():
        if labels:
            yield f"{', '.join(concerned)}: tested on other images than the baseline, so not compared with it: {named(labels)}."


def _absent(rows: Sequence[TableRow], columns: Sequence[str]) -> Iterator[str]:
    for column in columns:
        if lacking := [row.label for row in rows if row.finished and column not in row.scores]:
            yield f"{column}: not measured by the runs of {named(lacking)}."


def _cross_validated(rows: Sequence[TableRow], columns: Sequence[str], likeness: Likeness) -> Iterator[str]:
    """How folds were judged, and what of them is missing."""
    folded = [row for row in rows if row.folds is not None and row.scores]
    if not folded:
        return
    runs = [run for row in folded for run in likeness.rows[row.label].runs]
    schemes = " / ".join(dict.fromkeys(run.result.protocol.get("folds", str(run.header.folds)) for run in runs))
    seeds = max(len(row.seeds) for row in folded)
    averaged = f", each the mean of its {seeds} seeds, which share its images" if seeds > 1 else ""
    whole = (row for row in folded if len({repeat.fold for repeat in row.finished}) == row.folds)
    tested = [score.images for row in whole for column, score in row.scores.items() if column.startswith("test/")]
    together = f"; the folds together are the {max(tested):,} images of the set" if tested else ""
    yield f"Folds: {schemes}; corrected resampled t test over folds (Nadeau and Bengio 2003){averaged}{together}."
    yield from _missing_folds(folded, columns, likeness)
    if trained := [column for column in columns if column.partition("/")[0] in TRAINED_ON]:
        yield f"{', '.join(trained)}: no interval and no test, since the folds share most of the images that they train on."
    if any(score.published is not None for row in folded for score in row.scores.values()):
        yield "Published numbers are not judged: one draw of the folds does not tell where the mean of another would lie."


def _missing_folds(folded: Sequence[TableRow], columns: Sequence[str], likeness: Likeness) -> Iterator[str]:
    fewer, uneven = [], []
    for row in folded:
        one, other = (likeness.evidence[label].get(columns[0]) for label in (row.label, likeness.baseline.label))
        if not isinstance(one, FoldEvidence):
            continue
        if not row.baseline and isinstance(other, FoldEvidence) and len(common := one.common(other)) < (row.folds or 0):
            fewer.append(f"{row.label} {len(common)} of {row.folds}")
        if len({part.n for part in one.parts.values()}) > 1:
            uneven.append(row.label)
    if fewer:
        yield f"Compared over the folds that the row and the baseline both have: {'; '.join(fewer)}."
    if uneven:
        yield f"Some folds lack seeds and count with those that they have: {named(uneven)}."


def _seeds_alone(columns: Sequence[str], known: Found) -> Iterator[str]:
    """What is less sure than it looks, of rows without folds; and files that cannot be read, of any row."""
    evidence = {
        label: {column: one for column, one in found.items() if isinstance(one, Evidence)} for label, found in known.items()
    }
    there = [column for column in columns if any(column in found for found in evidence.values())]
    if others := dict.fromkeys(metric for _, metric in map(split_and_metric, there) if metric not in PER_IMAGE):
        yield f"{', '.join(others)}: intervals over seeds alone, not over test images."
    for column in columns:
        reasons = {label: found[column].problem for label, found in evidence.items() if column in found}
        for reason in INHERENT:
            if labels := [label for label, problem in reasons.items() if problem == reason]:
                which = "" if len(labels) == len(reasons) else f" of {named(labels)}"
                yield f"{column}{which}: interval over seeds alone, not over images: {reason}."
    for label, every in known.items():
        alone = (
            "judged over seeds alone, not over test images"
            if evidence[label]
            else "whether its folds were tested on the same images was not checked"
        )
        for problem in dict.fromkeys(one.problem for one in every.values() if one.problem and one.problem not in INHERENT):
            yield f"{label}: {alone}. {problem}"


def _single(rows: Sequence[TableRow]) -> Iterator[str]:
    there = [row for row in rows if row.scores]
    if alone := [row.label for row in there if row.folds and len({repeat.fold for repeat in row.finished}) == 1]:
        yield f"n=1 ({named(alone)}): one fold, hence no interval and no test."
    there = [row for row in there if row.folds is None]
    if single := [row.label for row in there if len(row.finished) == 1]:
        which = "all rows" if len(single) == len(there) else named(single)
        if any(score.over_images for row in there if row.label in single for score in row.scores.values()):
            said = "the interval covers the draw of the test images, not of the seed; p is McNemar's, of two networks"
        else:
            said = "no interval and no test, since nothing is known of the seed's part"
        yield f"n=1 ({which}): {said}."


def _corrected(rows: Sequence[TableRow], columns: Sequence[str]) -> Iterator[str]:
    differences = {
        column: {row.label: score.difference for row in rows if (score := row.scores.get(column)) and score.difference}
        for column in columns
    }
    tested = {column: sum(not isnan(one.p) for one in found.values()) for column, found in differences.items()}
    counts = {column: count for column, count in tested.items() if count}
    if max(counts.values(), default=0) > 1:
        equal = len(set(counts.values())) == 1
        number = (
            f"{max(counts.values())} rows" if equal else ", ".join(f"{count} in {column}" for column, count in counts.items())
        )
        yield f"Verdicts and their p are corrected for the number of comparisons (Holm: {number}); intervals are not."
    for column, found in differences.items():
        if labels := [label for label, one in found.items() if widened(one)]:
            yield f"{column}: the interval of {named(labels)} leaves out 0, the corrected one in the verdict does not."
