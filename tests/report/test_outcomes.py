"""What a judged table decided: the order of columns and rows, and the sentences on top of a page."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from fer_ablate.judgement.judged_table import Difference, Failure, Verdict
from fer_ablate.report.table.outcomes import best, best_first, in_reading_order, summary

from .example_tables import NAN, difference, fer_kd_table, row, score, table, unfinished_table


def compared(label, value, half=0.01, **rest):
    """A row with this difference to a baseline of 60 %."""
    return row(label, {"test/acc": score(0.6 + value, difference=difference(value, half))}, **rest)


def judged(label, kind, words, value=0.002):
    """A row with a verdict that example differences do not have."""
    found = Difference(value, value - 0.008, value + 0.008, 0.3, 0.3, words, kind)
    return row(label, {"test/acc": score(0.6, difference=found)})


BASE = row("base", {"test/acc": score(0.6)}, baseline=True)


def test_columns_of_the_test_come_first():
    assert in_reading_order(("val/acc", "test/loss", "train/acc", "test/acc")) == (
        "test/loss",
        "test/acc",
        "val/acc",
        "train/acc",
    )


def test_rows_are_sorted_by_their_difference():
    other_images = row("apart", {"test/acc": score(0.9)})
    given = table([row("later"), compared("down", -0.03), BASE, other_images, compared("up", 0.02)])
    assert [one.label for one in best_first(given, "test/acc")] == ["up", "base", "down", "apart", "later"]


def test_less_loss_is_better():
    rows = [
        row("base", {"test/loss": score(1.0)}, baseline=True),
        row("more", {"test/loss": score(1.2, difference=difference(0.2, 0.1))}),
        row("less", {"test/loss": score(0.9, difference=difference(-0.1, 0.05))}),
    ]
    given = table(rows, columns=("test/loss",))
    assert [one.label for one in best_first(given, "test/loss")] == ["less", "base", "more"]
    assert best(rows, "test/loss").label == "less"
    assert best([row("a", {"test/own_metric": score(0.5)})], "test/own_metric") is None


def test_rows_that_differ_are_named():
    given = table([BASE, compared("up", 0.02), compared("down", -0.03), compared("same", 0.001), compared("also", 0.002)])
    assert summary(given) == (
        "2 of 4 rows differ from the baseline (base) in test acc: up (+2.0 points) is better; down (-3.0 points) is worse. "
        "Of the others, 2 are within noise. Best mean: up, 62.0 %; better by 1.0 to 3.0 points."
    )


def test_many_rows_are_counted():
    said = summary(table([BASE, *(compared(f"r{place}", -0.02 - place / 100) for place in range(6))]))
    assert said.startswith("6 of 6 rows differ from the baseline (base) in test acc: r5 (-7.0 points), r4 (-6.0 points), ")
    assert "r3 (-5.0 points) and 3 more are worse. Best mean: base (the baseline), 60.0 %." in said


def test_noise_is_no_difference():
    said = summary(table([BASE, compared("a", 0.004), compared("b", -0.002)]))
    assert said.startswith(
        "No row differs from the baseline (base) in test acc: 2 are within noise. Best mean: a, 60.4 %; within "
    )


def test_margins_and_equal_runs_have_words():
    rows = [BASE, judged("a", Verdict.same, "the same within 1 point (-0.4 to +0.8)")]
    rows += [judged("b", Verdict.not_worse, "no worse than 1 point (-0.7 to +1.9)")]
    rows += [judged("c", Verdict.same_runs, "the same runs as base", NAN)]
    said = summary(replace(table(rows), margin=1.0))
    assert (
        "No row differs from the baseline (base) in test acc: 1 is the same within 1 point and 1 is at most 1 point worse."
        in said
    )
    assert "c has the same runs as the baseline (base)." in said


def test_one_seed_judges_nothing():
    said = summary(fer_kd_table(1))
    assert said.startswith(
        "No row is judged against the baseline (FER_KD): one seed does not show what another would give. Best value"
    )
    assert "differ" not in said


def test_what_is_missing_is_said():
    said = summary(unfinished_table())
    assert "1 row is not judged: one seed does not show what another would give." in said
    assert said.endswith("1 row failed: -2 Conv. 1 row has no score yet. 2 rows still lack runs.")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("a", baseline=True), row("b")], "No run has finished yet, of 6 in all."),
        (
            [row("a", baseline=True, failures=(Failure(0, "x", Path("log")),))],
            "No run has finished yet, of 3 in all; 1 run failed.",
        ),
        ([row("a", baseline=True), row("b", {"test/acc": score(0.6)})], "Nothing is compared: the baseline (a) has no score on "),
        ([BASE], "Best mean: base (the baseline), 60.0 %."),
        ([BASE, row("b", {"test/acc": score(0.7)})], "No other row is compared with the baseline (base) in test acc."),
        ([row("a", {"val/acc": score(0.6)}, baseline=True)], "No run has a score on test acc yet."),
        ([], "No run has finished yet, of 0 in all."),
    ],
    ids=["nothing run", "failed", "no baseline", "baseline alone", "not comparable", "other column", "no row"],
)
def test_without_comparisons_the_reason_is_said(rows, expected):
    assert summary(table(rows)).startswith(expected)


def test_not_a_number_is_no_score():
    assert math.isnan(score(NAN).mean)
    assert summary(table([row("a", {"test/acc": score(NAN)}, baseline=True)])) == "No run has a score on test acc yet."
