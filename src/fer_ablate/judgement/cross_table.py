"""Several networks tested on several data sets: intervals of their accuracies, and whether the networks differ.

Letters: N tested images of one data set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fer_ablate.errors import UserError
from fer_ablate.judgement.evidence import SeedEvidence
from fer_ablate.judgement.judged_table import Score
from fer_ablate.judgement.ranked import Ranks
from fer_ablate.judgement.ranks import equal_titles, rank_networks
from fer_ablate.judgement.statistics import holm, image_mean
from fer_ablate.judgement.verdicts import compared, judged_difference
from fer_ablate.metrics import SplitResult


@dataclass(frozen=True)
class NetworkTest:
    """Predictions of one network on one data set.

    Args:
        images: (N,) rows of the data that were tested, ascending.
        truth: (N,) name of the class of each image, in one spelling for all data sets.
        right: (N,) whether the network was right about each image.
        result: all scores.
        trained_on: whether the network was trained on another part of the same data.
        digest: of the images, as `study.pixels` gives it; empty if it is not known.
        notes: sentences about this score for the reader.
    """

    images: NDArray[np.int64]
    truth: NDArray[np.str_]
    right: NDArray[np.bool_]
    result: SplitResult
    trained_on: bool
    digest: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgedTest:
    """A test with the interval of its accuracy, and its difference to the first network of the table."""

    test: NetworkTest
    score: Score


@dataclass(frozen=True)
class CrossTable:
    """Networks down, data sets across.

    Args:
        networks: labels of the rows; the others are compared with the first.
        data: titles of the columns.
        cells: (network, data) -> judged test; absent where network and data share too few classes.
        notes: sentences below the table.
        ranks: of the networks by accuracy; None for a single network, or fewer than two data sets on which all have a score.
    """

    networks: tuple[str, ...]
    data: tuple[str, ...]
    cells: dict[tuple[str, str], JudgedTest]
    notes: tuple[str, ...]
    ranks: Ranks | None = None


def build_cross_table(
    networks: Sequence[str],
    data: Sequence[str],
    tests: Mapping[tuple[str, str], NetworkTest],
    problems: Mapping[tuple[str, str], str],
) -> CrossTable:
    """Judge networks that were tested once on each of some data sets.

    Intervals cover the draw of the test images, not that of the seed, since every network is a single run. Networks are
    compared with the first one by McNemar's exact test, corrected after Holm within each column, where both were tested on
    the same images. Over two or more data sets they are ranked by accuracy, see `ranks`.

    Args:
        networks: labels of the rows.
        data: titles of the columns.
        tests: (network, data) -> the test.
        problems: (network, data) -> why there is no test.

    Raises:
        UserError: there is no test at all; the message is the first problem.
    """
    if not tests:
        raise UserError(next(iter(problems.values())))
    cells: dict[tuple[str, str], JudgedTest] = {}
    notes = []
    for title in data:
        column = {network: tests[network, title] for network in networks if (network, title) in tests}
        found, not_compared = _column(column, networks[0])
        cells |= {(network, title): cell for network, cell in found.items()}
        notes += _column_notes(title, column, len(networks))
        without: dict[str, list[str]] = {}
        for network in networks:
            if network not in column:
                without.setdefault(problems[network, title], []).append(network)
        notes += [f"{title}: no score of {', '.join(labels)}. {problem}" for problem, labels in without.items()]
        if not_compared:
            notes.append(f"{title}: not compared with {networks[0]}, since other images were tested: {', '.join(not_compared)}.")
    notes.append("Every network is a single one (n=1): intervals are over test images; other seeds would give other networks.")
    # Sizes of images belong to networks, so it is one of these that shows which columns have the same images.
    digests = {title: next((tests[one, title].digest for one in networks if (one, title) in tests), "") for title in data}
    scores = {pair: cell.score.mean for pair, cell in cells.items()}
    ranks = rank_networks(networks, data, scores, same=equal_titles(digests))
    said = ranks.sentences if ranks is not None else ()
    return CrossTable(tuple(networks), tuple(data), cells, (*said, *notes), ranks)


def _column(column: Mapping[str, NetworkTest], first: str) -> tuple[dict[str, JudgedTest], list[str]]:
    """Judged tests on one data set, and the networks that cannot be compared with the first one."""
    scores = {network: _score(test) for network, test in column.items()}
    others = [network for network in column if network != first and first in column]
    comparable = [network for network in others if _same_images(column[network], column[first])]
    comparisons = [compared(_evidence(column[network]), _evidence(column[first]), None) for network in comparable]
    # Each column is a question of its own, so the correction counts its networks alone.
    corrected = holm([comparison.p for comparison in comparisons])
    for network, comparison, p in zip(comparable, comparisons, corrected, strict=True):
        scores[network] = replace(scores[network], difference=judged_difference("acc", comparison, p))
    cells = {network: JudgedTest(test, scores[network]) for network, test in column.items()}
    return cells, [network for network in others if network not in comparable]


def _score(test: NetworkTest) -> Score:
    low, high = np.clip(image_mean(test.right[None].astype(float)).interval(), 0, 1).tolist()
    accuracy = float(test.right.mean())
    return Score(n=1, images=len(test.right), mean=accuracy, sd=np.nan, low=low, high=high, over_images=True)


def _same_images(one: NetworkTest, other: NetworkTest) -> bool:
    """Whether the same images were tested, under the same classes."""
    # A network that knows fewer classes is tested on fewer images, and one with joined classes has another truth.
    return np.array_equal(one.images, other.images) and np.array_equal(one.truth, other.truth)


def _evidence(test: NetworkTest) -> SeedEvidence:
    # The seed is a placeholder: networks of different origins have none in common, and McNemar needs one of each.
    return SeedEvidence((0,), np.array([test.right.mean()]), len(test.right), test.images, test.right[None], "")


def _column_notes(title: str, column: Mapping[str, NetworkTest], count: int) -> list[str]:
    """Notes about the tests of a column, each once, naming the networks that it concerns unless it concerns all."""
    about: dict[str, list[str]] = {}
    for network, test in column.items():
        for note in test.notes:
            about.setdefault(note, []).append(network)
    alone = {note: f", {', '.join(networks)}" if len(networks) < count else "" for note, networks in about.items()}
    return [f"{title}{whose}: {note}" for note, whose in alone.items()]
