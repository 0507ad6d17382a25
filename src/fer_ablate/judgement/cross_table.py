"""Several networks on several data sets: how sure each accuracy is, and whether the networks differ. Plain arithmetic.

Letters: N tested images of one data set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fer_ablate.errors import UserError
from fer_ablate.judgement.evidence import Evidence
from fer_ablate.judgement.records import Score
from fer_ablate.judgement.statistics import holm, image_mean
from fer_ablate.judgement.verdicts import compared, judged
from fer_ablate.metrics import SplitResult


@dataclass(frozen=True)
class CellTest:
    """One network on one data set.

    Args:
        images: (N,) rows of the data that were tested, ascending.
        truth: (N,) name of the class of each, the same for all spellings.
        right: (N,) whether the network was right about each.
        result: all scores.
        trained_on: whether the network was trained on another part of the same data.
        notes: what a reader has to know about this score, a sentence each.
    """

    images: NDArray[np.int64]
    truth: NDArray[np.str_]
    right: NDArray[np.bool_]
    result: SplitResult
    trained_on: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CrossCell:
    """A tested network with the interval of its accuracy, and its difference to the first network of the table."""

    test: CellTest
    score: Score


@dataclass(frozen=True)
class CrossTable:
    """Networks down, data sets across.

    Args:
        networks: labels of the rows; the others are compared with the first.
        data: titles of the columns.
        cells: (network, data) -> scores; absent where the two share too few classes.
        notes: what a reader has to know.
    """

    networks: tuple[str, ...]
    data: tuple[str, ...]
    cells: dict[tuple[str, str], CrossCell]
    notes: tuple[str, ...]


def build_cross_table(
    networks: Sequence[str],
    data: Sequence[str],
    tests: Mapping[tuple[str, str], CellTest],
    problems: Mapping[tuple[str, str], str],
) -> CrossTable:
    """Judge networks that were tested once each on some data sets.

    An interval covers the draw of the test images, not that of the seed: every network is a single one. Networks are compared
    with the first by McNemar's exact test, corrected after Holm within each column, where both saw the same images.

    Args:
        networks: labels of the rows.
        data: titles of the columns.
        tests: (network, data) -> the test.
        problems: (network, data) -> why there is none.

    Raises:
        UserError: there is no test at all; it tells the first problem.
    """
    if not tests:
        raise UserError(next(iter(problems.values())))
    cells: dict[tuple[str, str], CrossCell] = {}
    notes = []
    for title in data:
        column = {network: tests[network, title] for network in networks if (network, title) in tests}
        found, unlike = _column(column, networks[0])
        cells |= {(network, title): cell for network, cell in found.items()}
        notes += _told(title, column, len(networks))
        without: dict[str, list[str]] = {}
        for network in networks:
            if network not in column:
                without.setdefault(problems[network, title], []).append(network)
        notes += [f"{title}: no score of {', '.join(labels)}. {problem}" for problem, labels in without.items()]
        if unlike:
            notes.append(f"{title}: not compared with {networks[0]}, since other images were tested: {', '.join(unlike)}.")
    notes.append("Every network is a single one (n=1): intervals are over test images; other seeds would give other networks.")
    return CrossTable(tuple(networks), tuple(data), cells, tuple(notes))


def _column(column: Mapping[str, CellTest], first: str) -> tuple[dict[str, CrossCell], list[str]]:
    """Scores of the networks on one data set; and which cannot be compared with the first network."""
    scores = {network: _score(test) for network, test in column.items()}
    others = [network for network in column if network != first and first in column]
    alike = [network for network in others if _same_images(column[network], column[first])]
    comparisons = [compared(_evidence(column[network]), _evidence(column[first]), None) for network in alike]
    corrected = holm([comparison.p for comparison in comparisons])
    for network, comparison, p in zip(alike, comparisons, corrected, strict=True):
        scores[network] = replace(scores[network], difference=judged("acc", comparison, p))
    cells = {network: CrossCell(test, scores[network]) for network, test in column.items()}
    return cells, [network for network in others if network not in alike]


def _score(test: CellTest) -> Score:
    low, high = np.clip(image_mean(test.right[None].astype(float)).interval(), 0, 1).tolist()
    accuracy = float(test.right.mean())
    return Score(n=1, images=len(test.right), mean=accuracy, sd=np.nan, low=low, high=high, over_images=True)


def _same_images(one: CellTest, other: CellTest) -> bool:
    """Whether the same images were tested, under the same classes."""
    return np.array_equal(one.images, other.images) and np.array_equal(one.truth, other.truth)


def _evidence(test: CellTest) -> Evidence:
    return Evidence((0,), np.array([test.right.mean()]), len(test.right), test.images, test.right[None], "")


def _told(title: str, column: Mapping[str, CellTest], count: int) -> list[str]:
    """Remarks on the cells of a column, each once, with the networks that it is about if it is not about all."""
    about: dict[str, list[str]] = {}
    for network, test in column.items():
        for note in test.notes:
            about.setdefault(note, []).append(network)
    alone = {note: f", {', '.join(networks)}" if len(networks) < count else "" for note, networks in about.items()}
    return [f"{title}{whose}: {note}" for note, whose in alone.items()]
