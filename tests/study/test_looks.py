"""Seeds added until rows are decided: levels of the looks, false verdicts over all of them, and runs saved."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, multivariate_normal, norm

from fer_ablate.judgement.evidence import SeedEvidence
from fer_ablate.judgement.judged_table import Verdict
from fer_ablate.judgement.looks import nominal_levels
from fer_ablate.judgement.sequential import Column, judged_in_looks
from fer_ablate.judgement.statistics import holm, image_difference, usual_spread
from fer_ablate.judgement.wording import Judging
from fer_ablate.study.spec import look_seeds

from .test_simulation import EASE, drawn_table

IMAGES = 1000
LOOKS = look_seeds(3, 20)


def test_levels_are_spent_look_by_look():
    """Not crossed so far with the probability that is left: by the normal distribution of all looks together."""
    looks, spending = (2, 3, 6), 1.5
    bounds = [norm.isf(level / 2) for level in nominal_levels(looks, 0.05, spending)]
    likeness = np.sqrt([[min(one, other) / max(one, other) for other in looks] for one in looks])
    for count in (1, 2, 3):
        inside = multivariate_normal(cov=likeness[:count, :count]).cdf(
            bounds[:count], lower_limit=[-one for one in bounds[:count]]
        )
        assert 1 - inside == pytest.approx(0.05 * (looks[count - 1] / 6) ** spending, abs=2e-4)


def test_all_looks_together_keep_their_level():
    levels = nominal_levels(LOOKS, 0.05)
    steps = np.random.default_rng(0).standard_normal((100_000, len(LOOKS))) * np.sqrt(np.diff(LOOKS, prepend=0))
    z = steps.cumsum(axis=1) / np.sqrt(LOOKS)
    crossed = (np.abs(z) > norm.isf(np.array(levels) / 2)).any(axis=1).mean()
    assert crossed == pytest.approx(0.05, abs=0.003)


def test_one_look_is_a_fixed_design():
    assert look_seeds(5, 5) == (5,)
    assert nominal_levels((5,), 0.05) == pytest.approx((0.05,))


def evidence(scores):
    return SeedEvidence(tuple(range(len(scores))), scores.mean(axis=1), scores.shape[1], np.arange(scores.shape[1]), scores, "")


def sequential(generator, gains, margin=None):
    """Outcomes of a drawn table, its runs, and the rows that a fixed design with all seeds calls different."""
    drawn = drawn_table(generator, LOOKS[-1], [EASE, *(EASE + gain for gain in gains)], IMAGES)
    every = [evidence(scores) for scores in drawn]
    rows = {str(place): row for place, row in enumerate(every[1:])}
    # More seeds than the look of a row are never looked at, as if they had not been trained.
    ended = judged_in_looks(Column(Judging("acc", margin=margin), rows, every[0], every), LOOKS)
    runs = sum(one.seeds for one in ended.values()) + max(one.seeds for one in ended.values())
    usual = usual_spread(list(drawn))
    fixed = [p < 0.05 for p in holm([image_difference(row, drawn[0], usual).p for row in drawn[1:]])]
    return ended, runs, fixed


def simulated(gains, tables, margin=None):
    generator, false, found, fixed, runs = np.random.default_rng(0), 0, 0, 0, 0
    for _ in range(tables):
        ended, used, other = sequential(generator, gains, margin)
        different = {label for label, one in ended.items() if one.difference.kind in (Verdict.better, Verdict.worse)}
        false += any(gains[int(label)] == 0 for label in different)
        found += sum(gains[int(label)] != 0 for label in different)
        fixed += sum(told and gain != 0 for told, gain in zip(other, gains, strict=True))
        runs += used
    return false, found / tables, fixed / tables, runs / tables


@pytest.mark.parametrize("tables", [10, pytest.param(1000, marks=pytest.mark.slow)])
def test_equal_rows_stay_equal_over_all_looks(tables):
    false, _, _, runs = simulated([0] * 7, tables)
    print(f"7 equal rows: {false} of {tables} tables with a false verdict; {runs:.1f} runs of {8 * LOOKS[-1]}")
    assert false <= binom.isf(0.01, tables, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    "gains", [(0.4, 0.2, 0.1, 0, 0, 0, 0), (0.6, 0.6, 0.6, 0.3, 0.3, 0.3, 0.3)], ids=["some better", "all better"]
)
def test_true_differences_are_found_with_fewer_runs(gains):
    false, found, fixed, runs = simulated(gains, 300)
    print(f"{gains}: found {found:.2f}, with all seeds {fixed:.2f}; false {false} of 300; {runs:.1f} runs of {8 * LOOKS[-1]}")
    assert false <= binom.isf(0.01, 300, 0.05)
    assert found >= 0.8 * fixed
    assert runs <= 0.75 * 8 * LOOKS[-1]


def test_decided_rows_need_no_more_seeds():
    ended, runs, _ = sequential(np.random.default_rng(0), [1.5, 1.5, 0.0])
    assert (ended["0"].difference.kind, ended["0"].open) == (Verdict.better, False)
    assert ended["0"].seeds < LOOKS[-1]
    assert ended["0"].difference.low > 0
    assert ended["0"].difference.p_holm < 0.05
    assert ended["2"].difference.verdict.startswith("within noise")
    assert runs < 4 * LOOKS[-1]


def test_sameness_is_a_decision():
    ended, _, _ = sequential(np.random.default_rng(1), [0.0, 0.0, 1.5], margin=0.08)
    assert {ended[label].difference.kind for label in "01"} == {Verdict.same}
    assert not any(one.open for one in ended.values())


def test_levels_allow_for_rows_without_runs():
    drawn = [evidence(scores) for scores in drawn_table(np.random.default_rng(0), 3, [EASE, EASE + 0.4], IMAGES)]
    column = Column(Judging("acc"), {"0": drawn[1]}, drawn[0], drawn)
    alone, with_others = (judged_in_looks(one, LOOKS)["0"].difference for one in (column, replace(column, planned=3)))
    assert with_others.p_holm > 2.5 * alone.p_holm > 0
    assert with_others.high - with_others.low > alone.high - alone.low


def test_rows_with_few_seeds_are_open():
    drawn = drawn_table(np.random.default_rng(0), 3, [EASE] * 4 + [EASE + 0.3], IMAGES)
    every = [evidence(scores) for scores in drawn]
    rows = {str(place): row for place, row in enumerate(every[1:])}
    ended = judged_in_looks(Column(Judging("acc"), rows, every[0], every), LOOKS)
    assert any(one.open for one in ended.values())
    assert all(one.seeds == 3 for one in ended.values())
    assert all("not decided yet" in one.difference.verdict for one in ended.values() if one.open)
