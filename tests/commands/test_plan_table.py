"""The table of `plan` on screens of different widths."""

import re

import pytest

from fer_ablate.commands.plan import fitted

HEADER = ["row", "seed", "key", "state", "why"]
LONG = "optimizer.lr 0.01 -> 0.003, scheduler.name onecycle -> cosine, trainer.max_epochs 5 -> 7 and 4 more"


def rows_of(label, *reasons):
    return [[label, str(seed), "5d02e7e94b", "stale", reason] for seed, reason in enumerate(reasons)]


def widest(rows):
    return sum(max(map(len, column)) + 2 for column in zip(HEADER, *rows, strict=True)) - 2  # none after the last


def test_a_wide_screen_shows_the_reasons():
    rows = rows_of("small", LONG, "code changed")
    assert fitted(HEADER, rows, 140) == (rows, [])


def test_long_reasons_stand_below_once():
    shown, below = fitted(HEADER, rows_of("small", LONG, "code changed", LONG, "x" * 60), 80)
    assert [row[-1] for row in shown] == ["(1)", "code changed", "(1)", "(2)"]
    assert below == [("(1)", LONG), ("(2)", "x" * 60)]


@pytest.mark.parametrize("width", [60, 80])
def test_labels_lose_their_middle_last(width):
    shown, _ = fitted(HEADER, rows_of("conv_layers=5 data=mislabelled optimizer=adamw", "code changed", LONG), width)
    assert widest(shown) <= width
    assert re.fullmatch(r"conv.*….*w", shown[0][0])
