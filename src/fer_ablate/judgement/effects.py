"""Main effects and interactions of the factors of a study, judged over images and seeds like the differences of its rows.

The main effect of a level is its mean over all combinations of the other factors minus that of the reference. A simple effect
is the same difference within one level of another factor, and an interaction is how much two simple effects differ. Beside
these contrasts stands an analysis of variance of the scores of runs, see `variance_tests`.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fer_ablate.judgement.contrasts import RowContrasts
from fer_ablate.judgement.designs import Design, Levels, complete
from fer_ablate.judgement.effect_words import DECIDED, sentences
from fer_ablate.judgement.evidence import Evidence, FoldEvidence, SeedEvidence, split_and_metric
from fer_ablate.judgement.judged_table import (
    ColumnEffects,
    Difference,
    Effect,
    EffectKind,
    Effects,
    FactorTest,
    LevelMean,
    Score,
    TableRow,
)
from fer_ablate.judgement.protocols import Comparability, first_labels
from fer_ablate.judgement.statistics import usual_spread
from fer_ablate.judgement.variance_tests import variance_tests
from fer_ablate.judgement.verdicts import judged_differences
from fer_ablate.judgement.wording import Judging, possible
from fer_ablate.metrics import higher_is_better

MOST_CONTRASTS, MOST_FACTORS = 40, 3
"""Main effects and interactions of a column, and factors, above which only pairs of factors are shown that certainly interact."""

ALPHA = 0.05

ADDED_SEEDS = (
    "Effects: not judged, since seeds were added until rows were decided; study.seeds_until=null with all seeds judges them."
)

Weights = dict[str, float]
"""Label -> weight."""


@dataclass(frozen=True)
class Contrast:
    """An effect as weights of rows."""

    kind: EffectKind
    factors: Levels
    levels: Levels
    references: Levels
    weights: Weights


def judged_effects(
    design: Design,
    columns: Sequence[str],
    rows: Sequence[TableRow],
    evidence: Mapping[str, Mapping[str, Evidence]],
    comparability: Comparability,
    looks: Sequence[int] = (),
) -> Effects:
    """Effects in every column.

    Args:
        design: factors and levels of the rows.
        columns: of the table.
        rows: judged.
        evidence: label -> column -> scores.
        comparability: which rows may be compared.
        looks: numbers of seeds after which the table was looked at while seeds were added.
    """
    if looks:
        # Seeds stop where a row looks decided, which tests of fixed numbers of seeds know nothing of.
        return Effects(design.factors, {}, (ADDED_SEEDS,), design.crossed)
    found: dict[str, ColumnEffects] = {}
    notes: dict[str, list[str]] = {}
    factors = design.factors
    for column in columns:
        scored = {label for label in design.rows if column in evidence.get(label, {})}
        usable = _comparable(design, scored, column, evidence, comparability)
        part = complete(design, usable) if design.crossed else design
        for note in _missing(design, part, scored, usable):
            notes.setdefault(note, []).append(column)
        if part is None or (not design.crossed and len(usable) < 2):
            continue
        judge = _crossed if design.crossed else _one_at_a_time
        found[column], left_out = judge(part, column, rows, evidence, comparability)
        for note in left_out:
            notes.setdefault(note, []).append(column)
        factors = part.factors
    noted = tuple(note if len(where) == len(columns) else f"{', '.join(where)}: {note}" for note, where in notes.items())
    return Effects(factors, found, noted, design.crossed)


def _comparable(
    design: Design,
    scored: set[str],
    column: str,
    evidence: Mapping[str, Mapping[str, Evidence]],
    comparability: Comparability,
) -> set[str]:
    """Rows with the same protocol on the same images as the baseline, or as the first row if it is none of them."""
    first = comparability.baseline.label
    if first not in scored:
        first = next((label for label in design.rows if label in scored), "")
    if not first:
        return set()
    against = Comparability(comparability.rows[first], comparability.rows, evidence)
    return {label for label in scored if label == first or against.comparable(label, column)}


def _missing(design: Design, part: Design | None, scored: set[str], usable: set[str]) -> list[str]:
    """Why combinations have no score, and what that leaves; nothing is said before the first run has finished."""
    if not scored:
        return []
    if not design.crossed:
        waiting = [label for label in design.rows if label not in scored]
        return [f"Effects: {first_labels(waiting)} not finished yet."] if waiting else []
    total = len(design.combinations)
    reasons = [
        (total - len(design.rows), "left out of the study"),
        (len(design.rows) - len(scored), "not finished"),
        (len(scored) - len(usable), "trained or tested on other data, or in another way"),
    ]
    why = ", ".join(
        f"{count} of {total} combinations {'is' if count == 1 else 'are'} {reason}" for count, reason in reasons if count
    )
    if not why:
        return []
    if part is None:
        return [f"Effects: not yet, {why}."]
    left = [
        f"{factor.name}={level}"
        for factor, kept in zip(design.factors, part.factors, strict=True)
        for level in factor.levels
        if level not in kept.levels
    ]
    return [f"Effects are over {part.size} of {design.size} combinations, without {', '.join(left)}: {why}."]


def _crossed(
    design: Design,
    column: str,
    rows: Sequence[TableRow],
    evidence: Mapping[str, Mapping[str, Evidence]],
    comparability: Comparability,
) -> tuple[ColumnEffects, list[str]]:
    metric = split_and_metric(column)[1]
    known = {label: evidence[label][column] for label in design.rows}
    runs = {label: frozenset(run.header.key for run in comparability.rows[label].runs) for label in known}
    drawn = [one[column] for one in evidence.values() if column in one]
    usual = usual_spread([found[0] for one in drawn if isinstance(one, SeedEvidence) and (found := one.drawn) is not None])
    contrasts = RowContrasts(known, runs, usual)
    higher = _higher_is_better(metric, comparability)
    chief = [*main_effects(design), *interactions(design)]
    effects = _judged(chief, contrasts, metric, higher)
    families = [_judged(family, contrasts, metric, higher) for family in simple_effects(design)]
    shared = len(set(runs.values())) < len(runs)
    tests = () if shared or _has_folds(known) else variance_tests(design, {label: one.values for label, one in known.items()})
    kept, left_out = kept_pairs(effects, tests, len(design.factors))
    every = [*effects, *itertools.chain(*families)]
    shown = tuple(one for one in every if len(one.factors) == 1 or _pair(one.factors) in kept)
    scores = {row.label: row.scores[column] for row in rows if column in row.scores}
    means = tuple(one for one in _level_means(design, contrasts, scores, metric) if _pair(one.factors) in kept)
    cells = {levels: contrasts.mean(label) for label, levels in design.rows.items()}
    words = sentences(design.factors, every, tests, cells, Judging(metric, higher))
    return ColumnEffects(shown, tests, means, words), left_out


def _one_at_a_time(
    design: Design,
    column: str,
    rows: Sequence[TableRow],
    evidence: Mapping[str, Mapping[str, Evidence]],
    comparability: Comparability,
) -> tuple[ColumnEffects, list[str]]:
    """Effects where each row changes one factor of the baseline: the differences that the table judges already."""
    metric = split_and_metric(column)[1]
    found: dict[str, Difference] = {
        row.label: score.difference
        for row in rows
        if (score := row.scores.get(column)) is not None and score.difference is not None
    }
    effects = [
        Effect(EffectKind.main, (factor.name,), (levels[place],), (factor.reference,), found[label])
        for place, factor in enumerate(design.factors)
        for label, levels in design.rows.items()
        if label in found and levels[place] != factor.reference
    ]
    known = {label: evidence[label][column] for label in design.rows if column in evidence.get(label, {})}
    runs = [frozenset(run.header.key for run in comparability.rows[label].runs) for label in known]
    whole = len(known) == len(design.rows) and len(set(runs)) == len(runs) and not _has_folds(known)
    tests = variance_tests(design, {label: one.values for label, one in known.items()}) if whole else ()
    words = sentences(design.factors, effects, tests, {}, Judging(metric, _higher_is_better(metric, comparability)))
    note = "Effects: each row changes one factor of the baseline, so that interactions cannot be seen; `crossed` shows them."
    return ColumnEffects(tuple(effects), tests, (), words), [note]


def main_effects(design: Design) -> list[Contrast]:
    """Each level of each factor minus its reference, mean over all combinations of the other factors."""
    return [
        Contrast(EffectKind.main, (factor.name,), (level,), (factor.reference,), _weights(design, {place: level}, {}))
        for place, factor in enumerate(design.factors)
        for level in _others(design, place)
    ]


def interactions(design: Design) -> list[Contrast]:
    """For each pair of factors, the difference of differences of each two levels."""
    return [
        Contrast(
            EffectKind.interaction,
            (design.factors[one].name, design.factors[other].name),
            (level, another),
            (design.factors[one].reference, design.factors[other].reference),
            _weights(design, {one: level, other: another}, {}),
        )
        for one, other in itertools.combinations(range(len(design.factors)), 2)
        for level in _others(design, one)
        for another in _others(design, other)
    ]


def simple_effects(design: Design) -> list[list[Contrast]]:
    """For each factor and each other one, the effect of its levels within each level of the other."""
    return [
        [
            Contrast(
                EffectKind.simple,
                (design.factors[one].name, design.factors[other].name),
                (level, within),
                (design.factors[one].reference, within),
                _weights(design, {one: level}, {other: within}),
            )
            for level in _others(design, one)
            for within in design.factors[other].levels
        ]
        for one, other in itertools.permutations(range(len(design.factors)), 2)
    ]


def _others(design: Design, place: int) -> list[str]:
    """The levels of a factor but for its reference."""
    return [level for level in design.factors[place].levels if level != design.factors[place].reference]


def _weights(design: Design, compared: Mapping[int, str], fixed: Mapping[int, str]) -> Weights:
    """Weights of rows: plus for each compared level, minus for its reference, of two factors multiplied; mean over the rest.

    Args:
        design: complete.
        compared: place of a factor -> level that is compared with its reference.
        fixed: place of a factor -> its only level.
    """
    rest = [len(factor.levels) for place, factor in enumerate(design.factors) if place not in compared and place not in fixed]
    found = {}
    for label, levels in design.rows.items():
        signs = [
            1 if levels[place] == level else -1 if levels[place] == design.factors[place].reference else 0
            for place, level in compared.items()
        ]
        if all(signs) and all(levels[place] == level for place, level in fixed.items()):
            found[label] = float(np.prod(signs) / np.prod(rest))
    return found


def _judged(contrasts: Sequence[Contrast], rows: RowContrasts, metric: str, higher: bool | None) -> list[Effect]:
    """The effects of one family: the correction counts all of them."""
    comparisons = [rows.contrast(one.weights) for one in contrasts]
    better = judged_differences(Judging(metric, higher), comparisons)
    # No interaction is better than another one, it is only larger.
    larger = judged_differences(Judging(metric, None), comparisons)
    return [
        Effect(one.kind, one.factors, one.levels, one.references, more if one.kind is EffectKind.interaction else found)
        for one, found, more in zip(contrasts, better, larger, strict=True)
    ]


def kept_pairs(effects: Sequence[Effect], tests: Sequence[FactorTest], factors: int) -> tuple[set[frozenset[str]], list[str]]:
    """The pairs of factors whose interactions are shown, and a note on those that are not."""
    pairs = {_pair(one.factors) for one in effects if one.kind is EffectKind.interaction}
    if len(effects) <= MOST_CONTRASTS and factors <= MOST_FACTORS:
        return pairs, []
    kept = {_pair(one.factors) for one in tests if len(one.factors) == 2 and one.p < ALPHA}
    kept |= {_pair(one.factors) for one in effects if one.kind is EffectKind.interaction and one.difference.kind in DECIDED}
    note = f"Effects: {len(effects)} comparisons are too many to show; left out are the interactions of {len(pairs - kept)} of "
    return kept, [note + f"{len(pairs)} pairs of factors, of which none is certain by itself or in the analysis of variance."]


def _pair(factors: Sequence[str]) -> frozenset[str]:
    return frozenset(factors)


def _level_means(design: Design, contrasts: RowContrasts, scores: Mapping[str, Score], metric: str) -> list[LevelMean]:
    """Mean and interval of each combination of two factors, over all levels of the others."""
    found = []
    for one, other in itertools.combinations(range(len(design.factors)), 2):
        names = (design.factors[one].name, design.factors[other].name)
        for level, another in itertools.product(design.factors[one].levels, design.factors[other].levels):
            labels = [label for label, levels in design.rows.items() if (levels[one], levels[other]) == (level, another)]
            mean = contrasts.contrast(dict.fromkeys(labels, 1 / len(labels)))
            low, high = mean.estimate.interval() if mean.estimate is not None else (np.nan, np.nan)
            if len(labels) == 1:  # as the table shows it
                low, high = scores[labels[0]].low, scores[labels[0]].high
            else:
                low, high = possible(metric, (low, high))
            found.append(LevelMean(names, (level, another), mean.value, low, high))
    return found


def _has_folds(known: Mapping[str, Evidence]) -> bool:
    return any(isinstance(one, FoldEvidence) for one in known.values())


def _higher_is_better(metric: str, comparability: Comparability) -> bool | None:
    return higher_is_better(metric, (run.result.own_metrics for row in comparability.rows.values() for run in row.runs))
