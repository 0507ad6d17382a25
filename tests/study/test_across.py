"""Networks on several data sets: intervals, comparisons, and what is told where there is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from fer_ablate.errors import UserError
from fer_ablate.judgement.cross_table import NetworkTest, build_cross_table
from fer_ablate.metrics.scores import score
from fer_ablate.report.table.cross_table import cross_frame, render_cross_table, shown_cross_table

CLASSES = ("angry", "happy")


def seen(right, images=None, trained_on=False, notes=()):
    """A test of a network that is right about some of the images, which are all happy."""
    right = np.array(right, bool)
    probabilities = torch.stack([1 - torch.from_numpy(right).float(), torch.from_numpy(right).float()], dim=1)
    labels = torch.ones(len(right), dtype=torch.int64)
    return NetworkTest(
        images=np.arange(len(right)) if images is None else np.array(images),
        truth=np.array(["happy"] * len(right)),
        right=right,
        result=score(probabilities, labels, CLASSES),
        trained_on=trained_on,
        notes=notes,
    )


def table(tests, problems=None):
    """Rows and columns in the order in which they come."""
    keys = [*tests, *(problems or {})]
    networks, data = (list(dict.fromkeys(key[place] for key in keys)) for place in (0, 1))
    return build_cross_table(networks, data, tests, problems or {})


def test_accuracy_and_interval_come_from_the_images():
    right = np.arange(400) % 4 != 0
    cell = table({("A", "raf"): seen(right)}).cells["A", "raf"]
    assert cell.score.mean == 0.75
    wilson = stats.binomtest(300, 400).proportion_ci(0.95, method="wilson")
    assert (cell.score.low, cell.score.high) == pytest.approx((wilson.low, wilson.high), abs=0.004)


def test_a_perfect_score_leaves_no_room_above_it():
    score = table({("A", "raf"): seen([True] * 20)}).cells["A", "raf"].score
    assert score.high == 1.0
    assert 0.8 < score.low < 1.0


def test_networks_are_compared_with_the_first_exactly():
    first, second = [True] * 4 + [False] * 6, [True] * 10  # 6 won, none lost: 2 / 2^6
    found = table({("A", "raf"): seen(first), ("B", "raf"): seen(second)})
    assert found.cells["A", "raf"].score.difference is None
    difference = found.cells["B", "raf"].score.difference
    assert difference.value == pytest.approx(0.6)
    assert difference.p == pytest.approx(2 / 2**6)


def test_each_column_is_corrected_for_its_own_comparisons():
    first, better = seen([True] * 4 + [False] * 6), seen([True] * 10)
    tests = {("A", "raf"): first, ("B", "raf"): better, ("C", "raf"): better, ("A", "lab"): first, ("B", "lab"): better}
    found = table(tests, {("C", "lab"): "Too few classes are shared."})
    assert found.cells["B", "raf"].score.difference.p_holm == pytest.approx(2 * 2 / 2**6)
    assert found.cells["B", "lab"].score.difference.p_holm == pytest.approx(2 / 2**6)


def test_other_images_are_not_compared():
    found = table({("A", "raf"): seen([True] * 3), ("B", "raf"): seen([True] * 3, images=[0, 1, 3])})
    assert found.cells["B", "raf"].score.difference is None
    assert "raf: not compared with A, since other images were tested: B." in found.notes


def test_a_remark_on_all_networks_is_told_once():
    remark, other = "The set has no test split.", "Left out."
    tests = {("A", "raf"): seen([True], notes=(remark,)), ("B", "raf"): seen([True], notes=(remark, other))}
    assert table(tests).notes[:2] == ("raf: The set has no test split.", "raf, B: Left out.")


def test_an_impossible_test_leaves_gap_and_reason():
    found = table({("A", "raf"): seen([True, False])}, {("B", "raf"): "Too few classes are shared."})
    assert "raf: no score of B. Too few classes are shared." in found.notes
    assert shown_cross_table(found, "t").group("acc, % [95 % interval]")[0].cells[1] == "—"
    assert cross_frame(found)["acc"].tolist()[0] == 0.5
    assert cross_frame(found)["acc"].isna().tolist() == [False, True]


def test_no_test_at_all_tells_why():
    with pytest.raises(UserError, match="Too few classes"):
        table({}, {("A", "raf"): "Too few classes are shared."})


def test_every_format_has_all_scores_and_marks():
    found = table({("A", "fer"): seen([True, False], trained_on=True), ("A", "a_b"): seen([True, True, True, False])})
    for form, mark, title in (("markdown", "†", "a_b"), ("latex", r"\textdagger{}", r"a\_b"), ("html", "†", "a_b")):
        text = render_cross_table(found, "t", form)
        assert mark in text
        assert title in text
        assert "50.0 [" in text
        assert "75.0 [" in text
    assert render_cross_table(found, "t", "csv").splitlines()[1].startswith("A,fer,2,0.5,")


def drawn(network, title):
    """A network that is right about more images the earlier its letter is."""
    return seen(np.arange(40) < 30 - 4 * "ABC".index(network) + len(title))


@pytest.mark.long
def test_every_format_has_ranks_over_data_sets():
    titles = ["raf", "lab", "a_b", "fer", "jaffe"]
    found = table({(network, title): drawn(network, title) for network in "ABC" for title in titles})
    assert found.ranks.means == {"A": 1, "B": 2, "C": 3}
    assert found.notes[1] == (
        "Ranks differ (Friedman's test, p < 0.001): A before C; other pairs are not told apart (critical difference 1.48)."
    )
    for form, mean in (("markdown", "2.00 |"), ("latex", "2.00 "), ("html", ">2.00<"), ("csv", ",2.0,2.0\n")):
        text = render_cross_table(found, "t", form)
        assert mean in text
        assert form == "csv" or "A before C" in text


def test_the_same_test_images_are_ranked_once():
    digests = {"raf": "1", "lab": "2", "copy": "1", "fer": "3", "jaffe": "4"}
    tests = {(one, title): replace(drawn(one, title), digest=digests[title]) for one in "ABC" for title in digests}
    found = table(tests)
    assert (found.ranks.data, found.ranks.p) == (("raf + copy", "lab", "fer", "jaffe"), None)
    assert "raf and copy have the same test images: they are one data set here, with the mean of their scores." in found.notes
    assert cross_frame(found)["rank"].tolist() == [1.0] * 5 + [2.0] * 5 + [3.0] * 5


def test_data_without_all_networks_are_not_ranked():
    tests = {
        (network, title): drawn(network, title)
        for network in "AB"
        for title in ("raf", "lab", "fer")
        if network + title != "Bfer"
    }
    found = table(tests, {("B", "fer"): "Too few classes are shared."})
    assert found.ranks.data == ("raf", "lab")
    assert "Ranks over 2 data sets are not tested: six or more are needed for 2 networks." in found.notes
    assert "Ranks leave out fer (no score of B)." in found.notes
    assert cross_frame(found)["rank"].isna().tolist() == [False, False, True, False, False, True]
