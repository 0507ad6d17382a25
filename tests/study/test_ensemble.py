"""Averages of networks: who is in, what comes out, and that test has no say in it."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from fer_ablate.ensemble.average import build_ensemble
from fer_ablate.ensemble.choice import average_of, greedy, ranked
from fer_ablate.ensemble.members import ensemble_candidate, with_unique_labels
from fer_ablate.errors import UserError

from .voting_runs import finish, guesses, shares

N = 150
ABILITIES = (0.6, 0.7, 0.65, 0.4)


@pytest.fixture
def labels():
    draw = np.random.default_rng(0)
    return draw.integers(0, 3, N), draw.integers(0, 3, N)


@pytest.fixture
def candidates(tmp_path, labels):
    """Four networks; the second is the best on val."""
    draw = np.random.default_rng(1)
    folders = [
        finish(tmp_path, "row", *((truth, guesses(draw, truth, right)) for truth in labels), seed=seed)
        for seed, right in enumerate(ABILITIES)
    ]
    return [ensemble_candidate(folder) for folder in folders]


def said(candidate, usage):
    stored = candidate.run.folder.predictions
    return stored.probabilities[stored.usage == usage]


def test_logits_are_averaged_without_being_stored():
    logits = torch.randn(3, 20, 7, generator=torch.Generator().manual_seed(0))
    weights = np.array([1, 2, 1])
    found = average_of(logits.softmax(-1).numpy(), weights, "logits")
    expected = ((logits[0] + 2 * logits[1] + logits[2]) / 4).softmax(-1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_zero_probabilities_do_not_break_the_average():
    votes = np.array([[[1, 0, 0]], [[0.2, 0.7, 0.1]]], np.float32)
    found = average_of(votes, np.array([1, 1]), "logits")
    assert np.isfinite(found).all()
    assert found.argmax() == 0


def test_equally_good_candidates_are_ranked_by_cross_entropy():
    truth = np.array([0, 1, 2, 0])
    votes = np.stack([shares(np.array([0, 1, 2, 1]), sure) for sure in (0.9, 0.6)] + [shares(truth)])
    assert ranked(votes, truth) == [2, 1, 0]  # being wrong with 0.9 costs more than being right with it gains


def test_greedy_takes_what_completes_the_best():
    truth = np.zeros(6, np.int64)
    best = shares(np.array([0, 0, 0, 0, 1, 1]), 0.5)
    twin = shares(np.array([0, 0, 0, 1, 1, 1]), 0.5)
    complement = np.concatenate([shares(np.array([1, 1, 2]), 0.4), shares(np.array([0, 0, 0]), 0.7)])  # sure where it is right
    weights = greedy(np.stack([twin, best, complement]), truth, "probabilities")
    assert weights[0] == 0
    assert (weights[1:] > 0).all()
    mean = average_of(np.stack([twin, best, complement]), weights, "probabilities")
    assert (mean.argmax(axis=1) == truth).all()


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_greedy_is_no_worse_than_its_best(candidates, average):
    ensemble = build_ensemble(candidates, average, "greedy")
    assert ensemble.splits["val"].metrics["acc"] >= max(member.val for member in ensemble.members) - 1e-7
    assert ensemble.best.candidate is candidates[1]


def test_best_of_val_are_chosen(candidates):
    ensemble = build_ensemble(candidates, select="best:2")
    assert [member.candidate for member in ensemble.members] == [candidates[1], candidates[2]]
    assert [one for one, _ in ensemble.left_out] == [candidates[0], candidates[3]]


@pytest.mark.long
@pytest.mark.parametrize("select", ["greedy", "best:2"])
def test_members_do_not_depend_on_test(tmp_path, candidates, labels, select):
    other = np.random.default_rng(5).permutation(labels[1])
    permuted = [
        ensemble_candidate(finish(tmp_path / "other", "row", (labels[0], said(one, 1)), (other, said(one, 2)), seed=seed))
        for seed, one in enumerate(candidates)
    ]
    first, second = build_ensemble(candidates, select=select), build_ensemble(permuted, select=select)
    assert first.splits["test"].metrics["acc"] != second.splits["test"].metrics["acc"]
    chosen = [[(member.candidate.label, member.weight) for member in one.members] for one in (first, second)]
    assert chosen[0] == chosen[1]


def test_scores_and_interval_agree_with_other_libraries(candidates, labels):
    ensemble = build_ensemble(candidates)
    mean = np.mean([said(one, 2) for one in candidates], axis=0)
    right, best = mean.argmax(axis=1) == labels[1], said(candidates[1], 2).argmax(axis=1) == labels[1]
    assert ensemble.splits["test"].metrics["acc"] == pytest.approx(accuracy_score(labels[1], mean.argmax(axis=1)))
    assert (ensemble.low, ensemble.high) == pytest.approx(proportion_confint(right.sum(), N, method="wilson"))
    table = [[(right & best).sum(), (right & ~best).sum()], [(~right & best).sum(), (~right & ~best).sum()]]
    assert ensemble.difference.p == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert ensemble.difference.value == pytest.approx(right.mean() - best.mean())
    assert "n=1: these two networks only" in ensemble.difference.verdict
    assert ensemble.mean_test == pytest.approx(np.mean([(said(one, 2).argmax(axis=1) == labels[1]).mean() for one in candidates]))


@pytest.mark.long
def test_what_is_kept_gives_the_scores_again(candidates):
    ensemble = build_ensemble(candidates, "logits")
    kept = ensemble.predictions
    on_test = kept.usage == 2
    right = kept.probabilities[on_test].argmax(axis=1) == kept.labels[on_test]
    assert right.mean() == pytest.approx(ensemble.splits["test"].metrics["acc"])
    assert (np.diff(kept.rows) > 0).all()


def test_the_digest_is_of_networks_weights_and_average(candidates):
    both = build_ensemble(candidates[:2])
    assert both.digest == build_ensemble(candidates[1::-1]).digest
    assert both.digest != build_ensemble(candidates[:2], "logits").digest
    assert both.digest != build_ensemble(candidates[:3]).digest


def test_copied_test_images_give_no_interval(tmp_path, labels):
    draw = np.random.default_rng(2)
    runs = [
        finish(tmp_path, "row", *((one, guesses(draw, one, 0.6)) for one in labels), seed=seed, protocol={"balance": "copies 2"})
        for seed in (0, 1)
    ]
    ensemble = build_ensemble([ensemble_candidate(run) for run in runs])
    assert np.isnan(ensemble.low)
    assert "copies of each other" in ensemble.difference.verdict


UNLIKE = {
    "test-time augmentation": ({"protocol": {"tta": "flip"}}, "evaluation.tta: none in row, seed 0, .*; flip in other, seed 0"),
    "data": ({"digest": "e" * 64}, "digest of the data: dddddddddd in .*; eeeeeeeeee in other, seed 0"),
    "images": ({"first_row": 7}, r"row, seed 0 and other, seed 0 were tested on different images of val \(150 and 150\)"),
}


@pytest.mark.long
@pytest.mark.parametrize(("changes", "message"), UNLIKE.values(), ids=UNLIKE)
def test_networks_that_were_tested_differently_are_named(tmp_path, candidates, labels, changes, message):
    draw = np.random.default_rng(3)
    other = finish(tmp_path, "other", *((truth, guesses(draw, truth, 0.5)) for truth in labels), **changes)
    with pytest.raises(UserError, match=message):
        build_ensemble([*candidates, ensemble_candidate(other)])


WRONG = {
    "one network": (1, {}, "needs two finished networks or more. There is one: row, seed 0"),
    "an average that is none": (4, {"average": "votes"}, "average=votes: there is no such average"),
    "a typo": (4, {"select": "greddy"}, "Did you mean 'greedy'"),
    "a number without sense": (4, {"select": "best:0"}, "select=best:0: N must be a whole number from 2 to 4"),
    "more than there are": (4, {"select": "best:5"}, "from 2 to 4"),
}


@pytest.mark.long
@pytest.mark.parametrize(("number", "words", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_averaged_is_refused(candidates, number, words, message):
    with pytest.raises(UserError, match=message):
        build_ensemble(candidates[:number], **words)


def test_val_that_was_trained_on_chooses_nothing(tmp_path, labels):
    draw = np.random.default_rng(4)
    runs = [
        finish(tmp_path, "row", *((one, guesses(draw, one, 0.6)) for one in labels), seed=seed, protocol={"roles": "combined"})
        for seed in (0, 1)
    ]
    found = [ensemble_candidate(run) for run in runs]
    with pytest.raises(UserError, match=r"data\.roles=combined the networks were trained on these very images"):
        build_ensemble(found, select="greedy")
    assert any("val was trained on" in note for note in build_ensemble(found).notes)


def test_missing_predictions_are_named(candidates):
    candidates[2].run.folder.predictions_file.unlink()
    with pytest.raises(UserError, match=r"Cannot read .*predictions\.npz"):
        build_ensemble(candidates)


def test_a_run_named_twice_is_refused(tmp_path, candidates, labels):
    with pytest.raises(UserError, match="was named 2 times"):
        with_unique_labels([candidates[0], candidates[0]])
    draw = np.random.default_rng(6)
    twin = ensemble_candidate(finish(tmp_path, "row", *((truth, guesses(draw, truth, 0.5)) for truth in labels)))
    assert [one.label for one in with_unique_labels([candidates[0], twin])] == [
        "row, seed 0 (00abababab)",
        "row, seed 0 (04abababab)",
    ]
