"""Main effects and interactions: numbers that were worked out by hand, runs on disk, and drawn designs whose truth is known."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, f_oneway

from fer_ablate.judgement.contrasts import RowContrasts, RowParts, image_contrast, seed_contrast
from fer_ablate.judgement.designs import Design
from fer_ablate.judgement.effects import interactions, kept_pairs, main_effects, simple_effects
from fer_ablate.judgement.evidence import FoldEvidence, SeedEvidence
from fer_ablate.judgement.judge import build_table
from fer_ablate.judgement.judged_table import Effect, EffectKind, Factor, FactorTest, JudgedTable, Verdict
from fer_ablate.judgement.row_runs import RowRuns
from fer_ablate.judgement.statistics import holm, image_difference, seed_difference, usual_spread
from fer_ablate.judgement.table_spec import TableSpec
from fer_ablate.judgement.variance_tests import variance_tests
from fer_ablate.labels import PRIVATE, USAGES
from fer_ablate.metrics import SplitResult
from fer_ablate.report.plots.effects import effects_figure
from fer_ablate.report.table.effects import effects_frame, effects_notes
from fer_ablate.report.table.formats import render_table
from fer_ablate.report.table.narrow import columns_width
from fer_ablate.report.table.terminal import console_tables
from fer_ablate.tracking.disk.run_folder import RunFolder, StoredPredictions

from ..finished_runs import finish_run, make_header
from .factors import LOSS, OPTIMIZER, SCHEDULER, crossed, difference
from .test_simulation import EASE, accuracy, drawn_table, holds

# Contrasts


def test_a_contrast_of_two_rows_is_their_difference():
    generator = np.random.default_rng(0)
    one, other, more = generator.random((3, 4, 50)) < np.array([0.6, 0.7, 0.65])[:, None, None]
    usual = usual_spread([one, other, more])
    found = image_contrast([RowParts.of(one, usual), RowParts.of(other, usual)], [1, -1], 0.5)
    assert found == image_difference(one, other, usual, 0.5)
    assert seed_contrast([one.mean(axis=1), other.mean(axis=1)], [1, -1]) == seed_difference(one.mean(axis=1), other.mean(axis=1))


def test_variance_of_a_contrast_worked_out_by_hand():
    """Four rows of equal runs, whose seeds add nothing: the images alone vary, by the contrast of each."""
    images = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 1], [0, 0, 0, 1]], float)
    rows = [RowParts.of(np.stack([row, row])) for row in images]
    weights = [0.5, 0.5, -0.5, -0.5]
    found = image_contrast(rows, weights)
    each = [1.0, 0.0, 0.0, -1.0]  # 0.5 (1 + 1 - 0 - 0), 0.5 (1 + 0 - 1 - 0), 0.5 (0 + 1 - 1 - 0), 0.5 (0 + 0 - 1 - 1)
    assert found.value == 0
    assert found.variance == pytest.approx(np.var([*each, -1, 1], ddof=1) / 4)


def test_rows_with_the_same_runs_are_one():
    generator = np.random.default_rng(0)
    scores = {label: generator.random((3, 40)) < 0.6 for label in "abc"}
    scores["twin"] = scores["a"]
    evidence = {label: SeedEvidence((0, 1, 2), one.mean(axis=1), 40, np.arange(40), one, "") for label, one in scores.items()}
    runs = {label: frozenset((label.replace("twin", "a"),)) for label in scores}
    rows = RowContrasts(evidence, runs, None)
    assert rows.contrast({"a": 1, "twin": -1}).without_estimate == "the same runs"
    assert rows.contrast({"a": 0.5, "twin": 0.5, "b": -1}) == rows.contrast({"a": 1, "b": -1})
    assert rows.contrast({"a": 1, "b": 1, "twin": -1, "c": -1}) == rows.contrast({"b": 1, "c": -1})


def test_single_runs_have_no_test():
    right = np.random.default_rng(0).random((2, 1, 40)) < 0.6
    evidence = {str(n): SeedEvidence((0,), one.mean(axis=1), 40, np.arange(40), one, "") for n, one in enumerate(right)}
    found = RowContrasts(evidence, {"0": frozenset("x"), "1": frozenset("y")}, None).contrast({"0": 1, "1": -1})
    assert (found.estimate, found.without_estimate) == (None, "n=1: these networks only")
    assert found.value == pytest.approx(right[0].mean() - right[1].mean())


def test_folds_are_contrasted_fold_by_fold():
    """Over the two folds that all rows have, of which one row lacks the third."""

    def row(*values):
        parts = {fold: SeedEvidence((0,), np.array([one]), 40, None, None, "") for fold, one in enumerate(values)}
        return FoldEvidence(parts, 0.5)

    rows = {"a": row(0.5, 0.7, 0.9), "b": row(0.4, 0.7, 0.1), "c": row(0.2, 0.6), "d": row(0.3, 0.5, 0.4)}
    contrasts = RowContrasts(rows, {label: frozenset(label) for label in rows}, None)
    found = contrasts.contrast({"a": 1, "b": -1, "c": -1, "d": 1})  # 0.2 in the first fold, -0.1 in the second
    assert found.value == pytest.approx(0.05)
    assert found.estimate.variance == pytest.approx((1 / 2 + 0.5) * 0.045)
    assert found.estimate.df == 1


# Effects of a design


def value_of(contrast, means):
    return sum(weight * means[label] for label, weight in contrast.weights.items())


def test_effects_worked_out_by_hand():
    design = crossed(OPTIMIZER, SCHEDULER)
    means = dict(zip(design.rows, [0.60, 0.62, 0.64, 0.61, 0.66, 0.62], strict=True))
    main = {one.levels: value_of(one, means) for one in main_effects(design)}
    assert main == pytest.approx({("sgd",): 0.03 / 3, ("cosine",): 0.035, ("step",): 0.025})
    both = {one.levels: value_of(one, means) for one in interactions(design)}
    assert both == pytest.approx({("sgd", "cosine"): 0.03, ("sgd", "step"): -0.03})
    simple = {(one.factors[0], *one.levels): value_of(one, means) for family in simple_effects(design) for one in family}
    assert simple["optimizer", "sgd", "cosine"] == pytest.approx(0.04)
    assert simple["scheduler", "step", "sgd"] == pytest.approx(0.01)
    assert len(simple) == 3 + 4


def test_effects_of_three_factors_are_means():
    design = crossed(OPTIMIZER, SCHEDULER, LOSS)
    assert len(main_effects(design)) == 4
    assert len(interactions(design)) == 2 + 1 + 2
    for one in [*main_effects(design), *interactions(design), *itertools.chain(*simple_effects(design))]:
        assert sum(one.weights.values()) == pytest.approx(0)
        assert sum(map(abs, one.weights.values())) == pytest.approx(4 if one.kind is EffectKind.interaction else 2)


def test_variance_tests_worked_out_by_hand():
    """Two by two, two runs each: sums of squares 8, 2 and 0.5 beside a residual of 2 over 4 degrees of freedom."""
    design = crossed(OPTIMIZER, LOSS)
    scores = dict(zip(design.rows, [[0, 1], [1.5, 2.5], [2.5, 3.5], [3, 4]], strict=True))
    found = variance_tests(design, {label: np.array(one, float) for label, one in scores.items()})
    # Means 0.5, 2, 3, 3.5: rows of optimizer 1.25 and 3.25, of loss 1.75 and 2.75, interaction 0.5 - 2 - 3 + 3.5 = -1.
    assert [one.factors for one in found] == [("optimizer",), ("loss",), ("optimizer", "loss")]
    assert [one.f for one in found] == pytest.approx([8 / 0.5, 2 / 0.5, 0.5 / 0.5])
    assert {(one.df, one.df_error) for one in found} == {(1, 4)}


def test_one_factor_variance_test_is_that_of_scipy():
    design = Design((OPTIMIZER, SCHEDULER), {"base": ("adam", "constant"), "b": ("adam", "cosine"), "c": ("adam", "step")}, False)
    scores = np.random.default_rng(0).random((3, 5))
    design = replace(design, factors=(SCHEDULER,), rows={label: levels[1:] for label, levels in design.rows.items()})
    (found,) = variance_tests(design, dict(zip(design.rows, scores, strict=True)))
    assert (found.f, found.p) == pytest.approx(tuple(f_oneway(*scores)))


def test_single_runs_have_no_variance_test():
    design = crossed(OPTIMIZER, LOSS)
    assert variance_tests(design, {label: np.array([0.5]) for label in design.rows}) == ()


def test_of_many_comparisons_only_certain_pairs_are_shown():
    """Above three factors; all comparisons are counted by the correction all the same."""
    design = crossed(OPTIMIZER, LOSS, Factor("width", ("1", "2"), "1"), Factor("depth", ("3", "4"), "3"))
    effects = [
        Effect(one.kind, one.factors, one.levels, one.references, difference(0.0))
        for one in (*main_effects(design), *interactions(design))
    ]
    tests = [FactorTest(("optimizer", "width"), 9, 1, 30, 0.01), FactorTest(("loss", "width"), 1, 1, 30, 0.3)]
    kept, (note,) = kept_pairs(effects, tests, len(design.factors))
    assert kept == {frozenset(("optimizer", "width"))}
    assert note.startswith("Effects: 10 comparisons are too many to show; left out are the interactions of 5 of 6 pairs")
    assert kept_pairs(effects, tests, 3)[1] == []
    effects[-1] = replace(effects[-1], difference=difference(0.1, Verdict.higher))
    assert frozenset(("width", "depth")) in kept_pairs(effects, tests, 4)[0]


# The whole way: from runs on disk to every format


SHARES = {("adam", "constant"): 0.5, ("adam", "cosine"): 0.5, ("sgd", "constant"): 0.5, ("sgd", "cosine"): 0.9}
IMAGES = 400


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two optimizers under two schedules, three seeds each; label -> its finished runs."""
    generator, folder = np.random.default_rng(0), tmp_path_factory.mktemp("runs")
    labels, found = np.arange(IMAGES) % 2, {}
    hard = generator.random(IMAGES)
    for levels, share in SHARES.items():
        for seed in range(3):
            right = 0.7 * hard + 0.3 * generator.random(IMAGES) < share
            guess = np.where(right, labels, 1 - labels)
            probabilities = np.stack([0.9 - 0.8 * guess, 0.1 + 0.8 * guess], axis=1).astype(np.float32)
            stored = StoredPredictions(np.arange(IMAGES), np.full(IMAGES, USAGES.index(PRIVATE)), labels, probabilities)
            confusion = [[int(((labels == truth) & (guess == one)).sum()) for one in (0, 1)] for truth in (0, 1)]
            split = SplitResult(n=IMAGES, metrics={"acc": float(right.mean())}, per_class={}, confusion=confusion)
            key = f"{'-'.join(levels)}-{seed}"
            header = make_header(key=key, seed=seed)
            run = finish_run(RunFolder(folder / key), header, stored, splits={"test": split, "private": split})
            found.setdefault(" ".join(levels), []).append(run)
    return found


def judged(runs, design, **options):
    rows = [RowRuns(label, (0, 1, 2), tuple(one)) for label, one in runs.items()]
    return build_table(
        TableSpec(study="schedules", baseline="adam constant", columns=["test/acc"], design=design, **options), rows
    )


TWO = crossed(OPTIMIZER, Factor("scheduler", ("constant", "cosine"), "constant"))


@pytest.fixture(scope="module")
def table(runs):
    return judged(runs, TWO)


def test_an_interaction_is_found_and_said(table):
    found = table.effects.columns["test/acc"]
    assert found.sentences[1].startswith("scheduler: cosine helps with sgd only (+")
    assert found.sentences[1].endswith("; with adam it is within noise.")
    means = {row.label: row.scores["test/acc"].mean for row in table.rows}
    (both,) = (one.difference.value for one in found.effects if one.kind is EffectKind.interaction)
    assert both == pytest.approx(means["sgd cosine"] - means["adam cosine"] - means["sgd constant"] + means["adam constant"])
    assert [one.mean for one in found.means] == pytest.approx(list(means.values()))
    assert JudgedTable.from_json(table.to_json()) == table


def test_every_format_has_the_effects(table):
    frame = effects_frame(table)
    assert list(frame["kind"]) == ["main effect"] * 2 + ["interaction"] + ["simple effect"] * 4 + ["ANOVA"] * 3
    for form in ("markdown", "latex", "html"):
        text = render_table(table, form)
        assert "Effects and interactions of schedules" in text
        assert "cosine helps with sgd only" in text
    *_, printed = console_tables(table, 100)
    assert printed.title == "effects on test acc, %"
    assert [line[0] for line in printed.rows[:2]] == ["optimizer: sgd vs adam", "scheduler: cosine vs constant"]
    assert "F(1, 8)" in effects_notes(table)[-2]


@pytest.mark.parametrize("width", [60, 80])
def test_effects_fit_a_narrow_screen(table, width):
    *_, printed = console_tables(table, width)
    assert columns_width(zip(printed.header, *printed.rows, strict=True)) <= width
    assert len({line[0] for line in printed.rows}) == len(printed.rows)
    assert not any("…" in cell for line in printed.rows for cell in line[1:])


def test_interaction_plot_has_a_line_per_level(table):
    figure = effects_figure(table, "test/acc")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["adam", "sgd"]
    assert [list(line.get_ydata()) for line in axes.lines] == [
        pytest.approx([100 * row.scores["test/acc"].mean for row in table.rows[place : place + 2]]) for place in (0, 2)
    ]
    assert effects_figure(replace(table, effects=None), "test/acc") is None


def test_a_note_names_interactions_of_three_factors(table):
    more = replace(table.effects, factors=(*table.effects.factors, Factor("loss", ("focal", "plain"), "focal")))
    assert not any("three or more factors are not shown" in note for note in effects_notes(table))
    assert "three or more factors are not shown" in effects_notes(replace(table, effects=more))[-1]
    (title,) = effects_figure(replace(table, effects=more), "test/acc").texts
    assert title.get_text().endswith("means over all levels of the other factors")


def test_unfinished_and_single_runs_claim_nothing(runs):
    some = {label: one for label, one in runs.items() if label != "sgd cosine"}
    effects = judged(some, TWO).effects
    assert (effects.columns, effects.notes) == ({}, ("Effects: not yet, 1 of 4 combinations is not finished.",))
    assert "- Effects: not yet, 1 of 4" in render_table(judged(some, TWO), "markdown")
    assert judged({label: [] for label in runs}, TWO).effects.notes == ()
    single = judged({label: one[:1] for label, one in runs.items()}, TWO).effects.columns["test/acc"]
    assert {one.difference.verdict for one in single.effects} == {"n=1: these networks only"}
    assert (single.tests, single.sentences) == ((), ())
    assert "were added" in judged(runs, TWO, looks=(2, 3)).effects.notes[0]


def test_one_factor_at_a_time_repeats_the_table(runs):
    rows = {label: levels for label, levels in TWO.rows.items() if label != "sgd cosine"}
    table = judged({label: runs[label] for label in rows}, Design(TWO.factors, rows, False))
    found = table.effects.columns["test/acc"]
    differences = [row.scores["test/acc"].difference for row in table.rows if not row.baseline]
    assert sorted(one.difference.value for one in found.effects) == sorted(one.value for one in differences)
    assert [one.factors for one in found.tests] == [("optimizer",), ("scheduler",)]
    assert "interactions cannot be seen" in table.effects.notes[0]
    assert len(console_tables(table)) == len(console_tables(replace(table, effects=None)))


# Drawn designs


def contrasts_of(factors):
    design = crossed(*factors)
    return design, main_effects(design), interactions(design)


def simulated(designs, seeds, factors=(OPTIMIZER, SCHEDULER), ease=None):
    """Coverage of main effects and of interactions, how many designs called any of them certain, and their number of each."""
    generator = np.random.default_rng(seeds)
    design, main, both = contrasts_of(factors)
    ease = ease or dict.fromkeys(design.rows, EASE)
    truth = {label: accuracy(one) for label, one in ease.items()}
    covered, called = {EffectKind.main: [], EffectKind.interaction: []}, 0
    for _ in range(designs):
        drawn = drawn_table(generator, seeds, [ease[label] for label in design.rows])
        usual = usual_spread(drawn)
        parts = {label: RowParts.of(scores, usual) for label, scores in zip(design.rows, drawn, strict=True)}
        p = []
        for one in (*main, *both):
            found = image_contrast([parts[label] for label in one.weights], list(one.weights.values()))
            covered[one.kind].append(holds(found, value_of(one, truth)))
            p.append(found.p)
        called += min(holm(p)) < 0.05
    return np.mean(covered[EffectKind.main]), np.mean(covered[EffectKind.interaction]), called


SLOW = [pytest.param(seeds, 1000, marks=pytest.mark.slow) for seeds in (2, 3, 5, 10)]


@pytest.mark.long
@pytest.mark.parametrize(("seeds", "designs"), [(3, 250), *SLOW])
def test_equal_rows_have_no_effects(seeds, designs):
    main, both, called = simulated(designs, seeds)
    print(f"n={seeds}: main effects {main:.3f}, interactions {both:.3f}, designs with a false verdict {called} of {designs}")
    assert 0.93 <= main <= 0.99
    assert 0.93 <= both <= 0.99
    assert called <= binom.isf(0.01, designs, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_of_true_effects_cover(seeds):
    design = crossed(OPTIMIZER, SCHEDULER)
    ease = dict(zip(design.rows, (0.6, 0.9, 0.9, 0.9, 0.9, 1.4), strict=True))
    main, both, called = simulated(1000, seeds, ease=ease)
    print(f"n={seeds}: main effects {main:.3f}, interactions {both:.3f}, designs with a verdict {called} of 1000")
    assert 0.93 <= main <= 0.99
    assert 0.93 <= both <= 0.99
