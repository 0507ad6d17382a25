"""Ranks of networks over several data sets, whether they differ by more than chance, and which networks are told apart.

Accuracies on different data sets are not comparable, ranks are. Ties share the mean of their ranks. Three or more networks are
compared by Friedman's test (1937, 1940), as the F of Iman and Davenport (1980), whose p is counted over permutations, and
which pairs differ by Nemenyi's critical difference (1963); two networks by Wilcoxon's signed-rank test: the tests that Demsar
recommends (2006, JMLR 7:1-30). scipy computes them.

Letters: N data sets, K networks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from fer_ablate.judgement.ranked import JOINED, Ranks
from fer_ablate.judgement.wording import p_text

ALPHA = 0.05

FEWEST_DATA_SETS = 5
"""Data sets below which ranks are not tested."""

FEWEST_FOR_TWO = 6
"""Data sets below which Wilcoxon's p cannot be below 5 %: of five, even if one network wins on all, it is 2 / 2^5."""

_PERMUTATIONS = 9_999
"""Permutations of the ranks within data sets that p is counted over; of three networks on five data sets it is all of them."""

_EXACT = 13
"""Differences up to which all 2^N signs are counted where some are equal; for more the normal approximation is close."""


def rank_networks(
    networks: Sequence[str],
    data: Sequence[str],
    scores: Mapping[tuple[str, str], float],
    higher_is_better: bool = True,
    what: str = "networks",
    same: Sequence[Sequence[str]] | None = None,
) -> Ranks | None:
    """Rank networks over data sets.

    Args:
        networks: labels.
        data: titles of the data sets.
        scores: (network, data set) -> score; a data set where a network has none is left out and named.
        higher_is_better: whether the highest score gets rank 1.
        what: word for the networks in sentences, in the plural.
        same: titles of data sets with the same test images. They repeat nothing, so they count once, by the mean of their scores.
            None: which ones these are is not known.

    Returns:
        None for fewer than two networks, or fewer than two data sets with all scores.
    """
    from scipy import stats  # takes more than a second

    ranked = [title for title in data if all((network, title) in scores for network in networks)]
    if len(networks) < 2 or len(ranked) < 2:
        return None
    lines = _once_each(ranked, same or ())
    # Rounded, since equal shares of images may differ in the last bit of a mean over seeds.
    values = np.array([np.mean([[scores[one, title] for one in networks] for title in line], axis=0) for line in lines]).round(9)
    ranks = stats.rankdata(-values if higher_is_better else values, axis=1)
    means = dict(zip(networks, ranks.mean(axis=0).tolist(), strict=True))
    p = f = critical = None
    ordered: list[tuple[str, str]] = []
    if len(networks) == 2 and len(lines) >= FEWEST_FOR_TWO:
        p = wilcoxon_p(values[:, 0] - values[:, 1])
        better, worse = sorted(networks, key=lambda network: means[network])
        ordered = [(better, worse)] if p < ALPHA and means[better] < means[worse] else []
    elif len(networks) > 2 and len(lines) >= FEWEST_DATA_SETS:
        f, p = friedman(ranks)
        critical = critical_difference(len(networks), len(lines))
        by_rank = sorted(networks, key=lambda network: means[network])
        # Pairs are looked at only if there is any difference, as Demsar does, so no pair can contradict the test of all.
        ordered = [pair for pair in combinations(by_rank, 2) if p < ALPHA and means[pair[1]] - means[pair[0]] >= critical]
    left_out = [title for title in data if title not in ranked]
    found = Ranks(
        data=tuple(JOINED.join(line) for line in lines),
        means=means,
        by_data={network: tuple(column) for network, column in zip(networks, ranks.T.tolist(), strict=True)},
        p=p,
        f=f,
        critical_difference=critical,
        ordered=tuple(ordered),
        sentences=(),
    )
    repeated = _repeated(networks, ranked, scores) if same is None else _same_images(lines)
    notes = [*_without(left_out, networks, scores), *repeated]
    return replace(found, sentences=(_means(found), _verdict(found, what), *notes))


def equal_titles(digests: Mapping[str, str]) -> list[list[str]] | None:
    """Titles of data sets with the same digest of their test images, where there are several; None if a digest is empty."""
    titles: dict[str, list[str]] = {}
    for title, digest in digests.items():
        titles.setdefault(digest, []).append(title)
    return None if "" in titles else [same for same in titles.values() if len(same) > 1]


def _once_each(data: Sequence[str], same: Sequence[Sequence[str]]) -> list[list[str]]:
    """Data sets, those with the same test images together."""
    group = {title: number for number, titles in enumerate(same) for title in titles}
    lines: dict[int | str, list[str]] = {}
    for title in data:
        lines.setdefault(group.get(title, title), []).append(title)
    return list(lines.values())


def _same_images(lines: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"{_listed(line)} have the same test images: they are one data set here, with the mean of their scores."
        for line in lines
        if len(line) > 1
    ]


def _repeated(networks: Sequence[str], data: Sequence[str], scores: Mapping[tuple[str, str], float]) -> list[str]:
    """A warning about data sets on which every network has the very scores that it has on another one."""
    titles: dict[tuple[float, ...], list[str]] = {}
    for title in data:
        titles.setdefault(tuple(round(scores[network, title], 9) for network in networks), []).append(title)
    return [
        f"The same scores on {', '.join(alike)}: if their test images are the same, they are one data set here, and the test "
        "claims too much."
        for alike in titles.values()
        if len(alike) > 1
    ]


def friedman(ranks: NDArray[np.float64]) -> tuple[float, float]:
    """Friedman's test of ranks, as the F of Iman and Davenport, and its p, counted over permutations of the ranks.

    The p of the F distribution is too small for few data sets: of 4 equal networks on 5 of them, 6.7 % have one below 5 %.

    Args:
        ranks: (N, K), each line from 1 to K, ties averaged.

    Returns:
        F with K - 1 and (K - 1)(N - 1) degrees of freedom; with Friedman's correction for ties it is the F of a two-way analysis
        of variance of the ranks. Infinite if all lines are equal, 0 if all ranks are.
    """
    from scipy import stats

    sets, networks = ranks.shape
    if np.ptp(ranks) == 0:
        return 0.0, 1.0
    chi2 = float(stats.friedmanchisquare(*ranks.T).statistic)
    rest = sets * (networks - 1) - chi2
    f = (sets - 1) * chi2 / rest if rest > 1e-9 else inf
    # F grows with the sum of squared rank sums, whose distribution the F distribution meets badly for few data sets.
    found = stats.permutation_test(
        list(ranks.T),
        _squares,
        permutation_type="samples",
        n_resamples=_PERMUTATIONS,
        alternative="greater",
        vectorized=True,
        rng=0,
    )
    return f, float(found.pvalue)


def _squares(*ranks: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.sum([one.sum(axis=axis) ** 2 for one in ranks], axis=0).round(6)
    return found


def critical_difference(networks: int, sets: int, alpha: float = ALPHA) -> float:
    """Nemenyi's critical difference of mean ranks: `q sqrt(K (K + 1) / 6 N)`, q of the studentized range divided by sqrt(2)."""
    from scipy import stats

    q = float(stats.studentized_range.isf(alpha, networks, np.inf)) / sqrt(2)
    return q * sqrt(networks * (networks + 1) / (6 * sets))


def wilcoxon_p(differences: NDArray[np.float64]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; differences of zero are left out."""
    from scipy import stats

    there = differences[differences != 0]
    if not len(there):
        return 1.0
    equal = len(np.unique(np.abs(there))) < len(there)
    # scipy's exact distribution knows no ties: then all signs are counted.
    if equal and len(there) <= _EXACT:
        return float(stats.wilcoxon(there, method=stats.PermutationMethod(n_resamples=2**_EXACT)).pvalue)
    return float(stats.wilcoxon(there).pvalue)


def _means(found: Ranks) -> str:
    ordered = sorted(found.means.items(), key=lambda one: one[1])
    listed = ", ".join(f"{network} {mean:.2f}" for network, mean in ordered)
    return f"Mean ranks over {_data_sets(found)}, 1 is best: {listed}."


def _data_sets(found: Ranks) -> str:
    return f"{len(found.data)} data set{'' if len(found.data) == 1 else 's'}"


def _verdict(found: Ranks, what: str) -> str:
    if found.p is None:
        needed = FEWEST_FOR_TWO if len(found.means) == 2 else FEWEST_DATA_SETS
        return (
            f"Ranks over {_data_sets(found)} are not tested: {_WORDS[needed]} or more are needed for {len(found.means)} {what}."
        )
    if found.critical_difference is None:
        test = f"Wilcoxon's signed-rank test, {p_text(found.p)}"
        if found.ordered:
            return f"Ranks differ ({test}): {_before(found.ordered)}."
        return f"The {what} are not told apart ({test})."
    f = "" if found.f is None or found.f == inf else f"F = {found.f:.2f}, "
    test = f"Friedman's test, {f}{p_text(found.p)}"
    if found.p >= ALPHA:
        return f"Ranks do not differ by more than chance ({test}): no {what} are told apart."
    apart = f"critical difference {found.critical_difference:.2f}"
    if not found.ordered:
        return f"Ranks differ ({test}), but no two {what} are told apart ({apart})."
    close = [pair for pair in combinations(sorted(found.means, key=lambda one: found.means[one]), 2) if pair not in found.ordered]
    alike = f"{close[0][0]} and {close[0][1]} are" if len(close) == 1 else "other pairs are" if close else ""
    return f"Ranks differ ({test}): {_before(found.ordered)}{f'; {alike} not told apart' if close else ''} ({apart})."


_WORDS = {FEWEST_DATA_SETS: "five", FEWEST_FOR_TWO: "six"}


def _before(ordered: Sequence[tuple[str, str]]) -> str:
    """Such as `A before B and C, B before C`."""
    worse: dict[str, list[str]] = {}
    for one, other in ordered:
        worse.setdefault(one, []).append(other)
    return ", ".join(f"{one} before {_listed(others)}" for one, others in worse.items())


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _without(left_out: Sequence[str], networks: Sequence[str], scores: Mapping[tuple[str, str], float]) -> list[str]:
    """Which data sets were not ranked, since some networks have no score there."""
    if not left_out:
        return []
    reasons = "; ".join(
        f"{title} (no score of {_listed([network for network in networks if (network, title) not in scores])})"
        for title in left_out
    )
    return [f"Ranks leave out {reasons}."]
