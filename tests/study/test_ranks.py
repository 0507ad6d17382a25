"""Ranks over data sets: the tests against published and other numbers, and what they say in words."""

import numpy as np
import pytest
from scipy import stats

from fer_ablate.judgement.ranks import critical_difference, friedman, rank_networks, wilcoxon_p

# Table 6 of Demsar (2006, JMLR 7:1-30), AUC on 14 data sets. On the last but one, two printed as 0.975 have the ranks 2 and 3.
DEMSAR = {
    "C4.5": (0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.000, 0.940, 0.619, 0.972, 0.957),
    "C4.5+m": (0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.000, 0.962, 0.666, 0.981, 0.978),
    "C4.5+cf": (0.771, 0.590, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1.000, 0.965, 0.614, 0.9751, 0.946),
    "C4.5+m+cf": (0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1.000, 0.962, 0.669, 0.975, 0.970),
}


def ranked(table, **options):
    """Ranks of a table: network -> scores on data sets a, b, c, ...; None is no score."""
    titles = "abcdefghijklmnopqrstuvwxyz"[: max(map(len, table.values()))]
    pairs = {(network, title): score for network, line in table.items() for title, score in zip(titles, line, strict=True)}
    known = {pair: score for pair, score in pairs.items() if score is not None}
    return rank_networks(list(table), list(titles), known, **options)


def test_demsars_example_comes_out_as_printed():
    found = ranked(DEMSAR)
    assert list(found.means.values()) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 14, alpha=0.10) == pytest.approx(1.12, abs=0.005)
    # He prints 9.28, without Friedman's correction for ties: three of two, one of four.
    chi2 = found.f * 14 * 3 / (13 + found.f)
    assert chi2 * (1 - (3 * 6 + 60) / (14 * 60)) == pytest.approx(9.28, abs=0.005)
    assert found.p < 0.05
    assert found.ordered == ()
    assert "but no two networks are told apart (critical difference 1.25)" in found.sentences[1]


def test_f_is_an_analysis_of_variance_of_ranks():
    ranks = stats.rankdata(np.random.default_rng(3).integers(0, 5, (7, 4)), axis=1)
    f, p = friedman(ranks)
    effects = ranks.mean(axis=0) - 2.5
    within = ((ranks - ranks.mean(axis=1, keepdims=True) - effects) ** 2).sum()
    assert f == pytest.approx((7 * (effects**2).sum() / 3) / (within / 18))
    assert p == pytest.approx(stats.f.sf(f, 3, 18), abs=0.02)


def test_p_counts_all_permutations_of_a_small_table():
    # Of the 6^5 tables of 3 networks on 5 data sets, 6 agree on all.
    assert friedman(np.tile([1.0, 2.0, 3.0], (5, 1))) == (np.inf, 6 / 6**5)
    assert friedman(np.full((5, 3), 2.0)) == (0.0, 1.0)


@pytest.mark.parametrize("equal", [False, True])
def test_two_networks_are_compared_by_signed_ranks(equal):
    differences = np.array([3, 1, 2, 2 if equal else 5, 4, 6]) / 100
    # All six signs alike, in either direction.
    assert wilcoxon_p(differences) == pytest.approx(2 / 2**6)
    assert wilcoxon_p(np.append(differences, 0)) == pytest.approx(2 / 2**6)
    assert wilcoxon_p(np.zeros(6)) == 1
    found = ranked({"A": 0.5 + differences, "B": np.full(6, 0.5)})
    assert found.sentences[1] == "Ranks differ (Wilcoxon's signed-rank test, p = 0.03): A before B."


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"A": [3, 3, 3, 3], "B": [2, 2, 2, 2], "C": [1, 1, 1, 1]}, "over 4 data sets are not tested: five or more are needed"),
        ({"A": [2] * 5, "B": [1] * 5}, "over 5 data sets are not tested: six or more are needed for 2 networks"),
        ({"A": [3] * 5, "B": [2] * 5, "C": [1] * 5}, "A before C; other pairs are not told apart"),
        ({"A": [3, 2, 1, 3, 2], "B": [2, 1, 3, 1, 3], "C": [1, 3, 2, 2, 1]}, "no networks are told apart"),
        ({"A": [9] * 9, "B": [5, 6] * 4 + [5], "C": [6, 5] * 4 + [6]}, "A before B and C; B and C are not told apart"),
    ],
)
def test_words_say_what_is_told_apart(table, said):
    assert said in ranked(table).sentences[1].replace("C and B are", "B and C are").replace(
        "A before C and B", "A before B and C"
    )


def test_ties_share_ranks_and_gaps_are_named():
    found = ranked({"A": [2, 2, None], "B": [1, 2, 1], "C": [0, 2, 1]})
    assert found.means == {"A": 1.5, "B": 2.0, "C": 2.5}
    assert found.sentences[-1] == "Ranks leave out c (no score of A)."
    assert ranked({"A": [2, 1]}) is None


def test_the_same_test_images_count_once():
    table = {"A": [3, 2, 3, 3, 3, 3], "B": [2, 3, 2, 2, 2, 2], "C": [1, 1, 1, 1, 1, 1]}
    assert ranked(table, same=()).p < 0.05
    found = ranked(table, same=[["a", "b", "c"]])
    # Together a, b and c have the means 8/3, 7/3 and 1.
    assert (found.data, found.means) == (("a + b + c", "d", "e", "f"), {"A": 1, "B": 2, "C": 3})
    assert (found.p, found.ordered) == (None, ())
    assert found.sentences[1:] == (
        "Ranks over 4 data sets are not tested: five or more are needed for 3 networks.",
        "a, b and c have the same test images: they are one data set here, with the mean of their scores.",
    )
    alone = ranked({"A": [2, 2], "B": [1, 1]}, same=[["a", "b"]])
    assert alone.sentences[0].startswith("Mean ranks over 1 data set, 1 is best: A 1.00")


def test_equal_scores_are_doubted_where_images_are_unknown():
    table = {"A": [2, 2, 3], "B": [1, 1, 1]}
    assert ranked(table).sentences[-1].startswith("The same scores on a, b: if their test images are the same")
    assert not any("same" in sentence for sentence in ranked(table, same=()).sentences)


def test_less_can_be_better():
    assert ranked({"A": [2, 2], "B": [1, 1]}, higher_is_better=False).means == {"A": 2, "B": 1}
