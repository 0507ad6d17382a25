"""Short names of rows for narrow terminals, and cells in several lines."""

import pytest

from fer_ablate.report.table.narrow import NO_BREAK, columns_width, distinct_labels, without_common, wrapped

GRID = (
    "optimizer=adam label_noise=0 train=140 (baseline)",
    "optimizer=adam label_noise=0 train=70",
    "optimizer=sgd label_noise=0 train=70 †",
)


@pytest.mark.parametrize(
    ("labels", "room", "cells", "below"),
    [
        (GRID, 50, GRID, ()),
        (
            GRID,
            30,
            ("adam 140 (baseline)", "adam 70", "sgd 70 †"),
            (("rows", "values of optimizer, train; all have label_noise=0"),),
        ),
        (
            ("model a with much", "model a without any"),
            16,
            ("with much", "without any"),
            (("rows", "all have model a"),),
        ),
        (("a" * 30 + "b", "a" * 30 + "c", "d"), 16, ("aaaaaaaa…aaaaaab", "aaaaaaaa…aaaaaac", "d"), ()),
        (
            (f"{'a' * 20}1{'b' * 20}", f"{'a' * 20}2{'b' * 20}", "c"),
            16,
            ("(1)", "(2)", "c"),
            (("(1)", f"{'a' * 20}1{'b' * 20}"), ("(2)", f"{'a' * 20}2{'b' * 20}")),
        ),
        (("a row of three (baseline)", "other"), 16, ("a row of three\n(baseline)", "other"), ()),
        (("a_row_with_a_long_word (baseline)", "other"), 16, ("(1) (baseline)", "other"), (("(1)", "a_row_with_a_long_word"),)),
    ],
    ids=["room", "settings", "first words", "cut", "cut ones are equal", "lines", "too little room"],
)
def test_short_labels_stay_distinct(labels, room, cells, below):
    found = distinct_labels(labels, room)
    assert (found.cells, found.below) == (cells, below)


def test_lists_in_labels_keep_their_blanks():
    labels = ("drop=[a, b] lr=1", "drop=[a, c] lr=1")
    assert without_common(labels).cells == labels


def test_labels_of_which_one_starts_another():
    assert without_common(("small", "small with noise")).cells == ("small", "small with noise")


def test_lines_end_between_words():
    assert wrapped("worse by 15.6 to 18.0 points", 12) == "worse by\n15.6 to 18.0\npoints"
    assert wrapped(f"val acc{NO_BREAK}65.43, test acc{NO_BREAK}62.5", 14) == "val acc 65.43,\ntest acc 62.5"
    assert wrapped("only (p = 0.21)", 9) == "only\n(p = 0.21)"
    assert wrapped("", 5) == ""
    assert columns_width([("a", "one\nthree"), ("b", "表")]) == 5 + 2 + 2 + 2
