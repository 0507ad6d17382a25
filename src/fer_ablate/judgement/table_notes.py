"""Notes below a judged table: a sentence for everything that a reader could otherwise misread, none where all is as usual."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import isnan

import numpy as np

from fer_ablate.judgement.doubtful_units import doubtful_unit
from fer_ablate.judgement.evidence import INHERENT, TRAINED_ON, Evidence, FoldEvidence, SeedEvidence, split_and_metric
from fer_ablate.judgement.image_scores import has_image_scores
from fer_ablate.judgement.judged_table import TableRow
from fer_ablate.judgement.protocols import CONFIG_KEYS, Comparability, differing_protocols, first_labels, sharing_runs
from fer_ablate.judgement.statistics import FEWEST_ROWS
from fer_ablate.judgement.verdicts import widened
from fer_ablate.metrics import in_percent

OTHER_IMAGES, OTHER_DATA = "tested on other images", "trained or tested on other data"
"""Why a row is not compared. Data with the same test images may differ in those for training, or in labels."""

TableEvidence = Mapping[str, Mapping[str, Evidence]]
"""Label -> column -> scores of the runs."""


def table_notes(
    rows: Sequence[TableRow],
    columns: Sequence[str],
    evidence: TableEvidence,
    comparability: Comparability,
    margin: float | None = None,
    looks: Sequence[int] = (),
) -> Iterator[str]:
    """The sentences, the most serious first."""
    yield from _shared_runs(comparability)
    yield from _doubtful_units(rows)
    yield from _averages(comparability)
    yield from _own_baselines(comparability)
    yield from _differing_tests(rows, columns, comparability)
    yield from _machines(comparability)
    yield from _missing_columns(rows, columns)
    yield from _cross_validated(rows, columns, comparability)
    yield from _seeds_alone(columns, evidence)
    yield from _persons(evidence)
    yield from _single_runs(rows, evidence)
    yield from _margins(columns, margin)
    yield from (
        _added_seeds(rows, looks, bool(comparability.twins)) if looks else _correction(rows, columns, bool(comparability.twins))
    )


def _shared_runs(comparability: Comparability) -> Iterator[str]:
    for label, other in sharing_runs(comparability.rows.values()).items():
        yield f"{label} has the same runs as {other}: the two rows are one configuration, so they are not compared."


def _doubtful_units(rows: Sequence[TableRow]) -> Iterator[str]:
    """Published numbers that are likely fractions while the table is in percent, or the other way round."""
    for row in rows:
        for column, printed in {**row.published, **row.published_by_class}.items():
            metric, value = column.partition("/")[2], printed.value
            kind = doubtful_unit(metric, value)
            about = f"{row.label}: is the published {column} of {value:g}"
            if kind == "percent?":
                fraction = f"{value / 100:.10g} for {value:g} %"
                yield f"{about} in percent? It is not compared, since {metric} is at most 1: write {fraction}."
            elif kind:
                percent = f"{100 * value:.10g}"
                problem = f"{about} a fraction? It is not compared"
                yield f"{problem}, since published numbers are in percent: write {percent} for {percent} %."


def _averages(comparability: Comparability) -> Iterator[str]:
    """What rows of averages are made of, and what they lack."""
    for row in comparability.rows.values():
        if row.average is None:
            continue
        labels = ", ".join(row.average.rows)
        members = f"all seeds of {labels}" if row.average.over_seeds else f"{labels}, seed by seed"
        kind = f"probabilities averaged over {row.average.networks} networks ({members}), without training"
        yield f"{row.label}: {kind}; parameters, operations and time are sums over them."
        yield from (f"{row.label}: {note}." for note in row.average.notes)


def _own_baselines(comparability: Comparability) -> Iterator[str]:
    """With which rows those on several data sets are compared."""
    if references := list(dict.fromkeys(comparability.twins.values())):
        yield (
            f"Rows are compared within their data set, with the row that has the other settings of the baseline: "
            f"{first_labels(references)}."
        )


def _differing_tests(rows: Sequence[TableRow], columns: Sequence[str], comparability: Comparability) -> Iterator[str]:
    scored = [row.label for row in rows if row.scores and not row.baseline]
    parts = [CONFIG_KEYS.get(part, part) for part in differing_protocols(comparability.rows.values())]
    others = [label for label in scored if not comparability.same_protocol(label)]
    if parts:
        which = f": {first_labels(others)} not compared with the baseline" if others else ""
        yield f"The rows used different evaluation protocols ({', '.join(parts)}){which}."
    # Columns that exclude the same rows for the same reason share one sentence.
    moved: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for column in columns:
        known = comparability.evidence
        both = [label for label in scored if column in known[label] and column in known[comparability.reference(label).label]]
        apart = [label for label in both if label not in others and not comparability.same_images(label, column)]
        reasons = {label: OTHER_IMAGES if comparability.other_images(label, column) else OTHER_DATA for label in apart}
        for reason in dict.fromkeys(reasons.values()):
            labels = tuple(label for label in apart if reasons[label] == reason)
            moved.setdefault((reason, labels), []).append(column)
    for (reason, labels), concerned in moved.items():
        yield f"{', '.join(concerned)}: {reason} than the baseline, so not compared with it: {first_labels(labels)}."


MACHINE = {"threads": "numbers of threads", "precision": "number formats", "hardware": "machines"}
"""Part of a run's environment -> its name in a note. Runs with the same key may differ in these: another order of summation
changes the last digits of a sum, and training magnifies that."""


def _machines(comparability: Comparability) -> Iterator[str]:
    """Where and how the runs were computed, if that differs."""
    environments = [run.result.environment for evidence in comparability.rows.values() for run in evidence.runs]
    for name, plural in MACHINE.items():
        counted = Counter(environment[name] for environment in environments if name in environment)
        if len(counted) > 1:
            listed = ", ".join(f"{value} ({n} {'run' if n == 1 else 'runs'})" for value, n in sorted(counted.items()))
            yield f"The runs were computed with different {plural}: {listed}. Differences between them are part of the spread."


def _missing_columns(rows: Sequence[TableRow], columns: Sequence[str]) -> Iterator[str]:
    for column in columns:
        if lacking := [row.label for row in rows if row.finished and column not in row.scores]:
            yield f"{column}: not measured by the runs of {first_labels(lacking)}."
    for row in rows:
        if row.finished and (lacking := [column for column in row.published_by_class if column not in row.by_class]):
            yield f"{row.label}: published by class, but no such class or split was measured: {first_labels(lacking)}."


def _cross_validated(rows: Sequence[TableRow], columns: Sequence[str], comparability: Comparability) -> Iterator[str]:
    """How folds were judged, and which folds are missing."""
    folded = [row for row in rows if row.folds is not None and row.scores]
    if not folded:
        return
    runs = [run for row in folded for run in comparability.rows[row.label].runs]
    schemes = " / ".join(dict.fromkeys(run.result.protocol.get("folds", str(run.header.folds)) for run in runs))
    seeds = max(len(row.seeds) for row in folded)
    averaged = f", each the mean of its {seeds} seeds, which share its images" if seeds > 1 else ""
    # Only all folds together are the whole set.
    whole = (row for row in folded if len({repeat.fold for repeat in row.finished}) == row.folds)
    tested = [score.images for row in whole for column, score in row.scores.items() if column.startswith("test/")]
    together = f"; the folds together are the {max(tested):,} images of the set" if tested else ""
    yield f"Folds: {schemes}; corrected resampled t test over folds (Nadeau and Bengio 2003){averaged}{together}."
    yield from _missing_folds(folded, columns, comparability)
    if trained := [column for column in columns if column.partition("/")[0] in TRAINED_ON]:
        yield f"{', '.join(trained)}: no interval and no test, since the folds share most of the images that they train on."
    if any(score.published is not None for row in folded for score in row.scores.values()):
        yield "Published numbers are not judged: one draw of the folds does not show how the mean varies between draws."


def _missing_folds(folded: Sequence[TableRow], columns: Sequence[str], comparability: Comparability) -> Iterator[str]:
    fewer, uneven = [], []
    for row in folded:
        own = comparability.evidence[row.label]
        column = next((column for column in columns if isinstance(own.get(column), FoldEvidence)), "")
        one, other = own.get(column), comparability.evidence[comparability.reference(row.label).label].get(column)
        if not isinstance(one, FoldEvidence):
            continue
        if not row.baseline and isinstance(other, FoldEvidence) and len(common := one.common(other)) < (row.folds or 0):
            fewer.append(f"{row.label} {len(common)} of {row.folds}")
        if len({part.n for part in one.parts.values()}) > 1:
            uneven.append(row.label)
    if fewer:
        yield f"Compared over the folds that the row and the baseline both have: {'; '.join(fewer)}."
    if uneven:
        yield f"Some folds lack seeds and count with those that they have: {first_labels(uneven)}."


def _seeds_alone(columns: Sequence[str], known: TableEvidence) -> Iterator[str]:
    """Intervals of rows without folds that cover the seeds alone, and files of any row that cannot be read."""
    evidence = {
        label: {column: one for column, one in found.items() if isinstance(one, SeedEvidence)} for label, found in known.items()
    }
    scored = [column for column in columns if any(column in found for found in evidence.values())]
    blind = [column for column in scored if any(column in found and found[column].scores is None for found in evidence.values())]
    if others := dict.fromkeys(metric for _, metric in map(split_and_metric, blind) if not has_image_scores(metric)):
        yield f"{', '.join(others)}: intervals over seeds alone, not over test images."
    alike: dict[str, list[str]] = {}
    for column in columns:
        reasons = {label: found[column].problem for label, found in evidence.items() if column in found}
        for reason in INHERENT:
            if labels := [label for label, problem in reasons.items() if problem == reason]:
                which = "" if len(labels) == len(reasons) else f" of {first_labels(labels)}"
                alike.setdefault(f"{which}: interval over seeds alone, not over images: {reason}.", []).append(column)
    yield from (f"{', '.join(concerned)}{rest}" for rest, concerned in alike.items())
    for label, every in known.items():
        alone = (
            "judged over seeds alone, not over test images"
            if evidence[label]
            else "whether its folds were tested on the same images was not checked"
        )
        for problem in dict.fromkeys(one.problem for one in every.values() if one.problem and one.problem not in INHERENT):
            yield f"{label}: {alone}. {problem}"


def _persons(known: TableEvidence) -> Iterator[str]:
    counts = {
        len(np.unique(one.groups))
        for found in known.values()
        for one in found.values()
        if isinstance(one, SeedEvidence) and one.groups is not None and one.scores is not None
    }
    if counts:
        number = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
        yield f"Intervals and tests are over the {number} groups (data.group) that the images belong to, not over single images."


def _margins(columns: Sequence[str], margin: float | None) -> Iterator[str]:
    """What verdicts about a margin mean, if the study gives one."""
    if margin is None:
        return
    yield (
        f"Margin of {margin:g} points: 'the same within' is two one-sided tests and 'no worse than' one of them, at 5 %, "
        "each corrected for the number of rows (Holm)."
    )
    if others := [column for column in columns if not in_percent(column.partition("/")[2])]:
        yield f"{', '.join(others)}: not in percent, so the margin does not apply."


def _single_runs(rows: Sequence[TableRow], evidence: TableEvidence) -> Iterator[str]:
    scored = [row for row in rows if row.scores]
    if alone := [row.label for row in scored if row.folds and len({repeat.fold for repeat in row.finished}) == 1]:
        yield f"n=1 ({first_labels(alone)}): one fold, hence no interval and no test."
    scored = [row for row in scored if row.folds is None]
    if single := [row.label for row in scored if len(row.finished) == 1]:
        which = "all rows" if len(single) == len(scored) else first_labels(single)
        if _usual_is_known(evidence):
            meaning = "the spread between its seeds is taken to be the usual one of this table"
        elif any(score.over_images for row in scored if row.label in single for score in row.scores.values()):
            meaning = "the interval covers the draw of the test images, not of the seed; p compares two networks"
        else:
            meaning = "no interval and no test, since one run does not show what the seed contributes"
        yield f"n=1 ({which}): {meaning}."


def _usual_is_known(known: TableEvidence) -> bool:
    """Whether enough rows have several seeds to show what the spread of a row usually is."""
    several: Counter[str] = Counter()
    for found in known.values():
        several.update(column for column, one in found.items() if isinstance(one, SeedEvidence) and one.n > 1 and one.over_images)
    return max(several.values(), default=0) >= FEWEST_ROWS


def _added_seeds(rows: Sequence[TableRow], looks: Sequence[int], by_data: bool) -> Iterator[str]:
    """How the seeds came about, and over what the verdicts hold."""
    seeds = ", ".join(str(len(row.seeds)) for row in rows)
    where = "all looks and rows of each data set by itself" if by_data else "all looks and rows together"
    yield (
        f"Seeds are added until rows are decided or not worth more ({seeds} so far), with looks after "
        f"{', '.join(map(str, looks))} seeds. Verdicts and intervals hold over {where} "
        "(alpha spending after Lan and DeMets, divided as by Holm); each difference is that of the look which ended it."
    )


def _correction(rows: Sequence[TableRow], columns: Sequence[str], by_data: bool = False) -> Iterator[str]:
    differences = {
        column: {row.label: score.difference for row in rows if (score := row.scores.get(column)) and score.difference}
        for column in columns
    }
    tested = {column: sum(not isnan(one.p) for one in found.values()) for column, found in differences.items()}
    counts = {column: count for column, count in tested.items() if count}
    if max(counts.values(), default=0) > 1:
        # Rows that fail or use another protocol make the number of comparisons differ between columns.
        equal = len(set(counts.values())) == 1
        number = (
            f"{max(counts.values())} rows" if equal else ", ".join(f"{count} in {column}" for column, count in counts.items())
        )
        counted = "on each data set by itself" if by_data else number
        yield f"Verdicts and their p are corrected for the number of comparisons (Holm: {counted}); intervals are not."
    for column, found in differences.items():
        if labels := [label for label, one in found.items() if widened(one)]:
            yield f"{column}: the interval of {first_labels(labels)} leaves out 0, the corrected one in the verdict does not."
