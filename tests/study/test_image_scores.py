"""Contributions of images to metrics, against libraries and against leaving each image out."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score, log_loss, precision_score, roc_auc_score

from fer_ablate.judgement.image_scores import from_labels, from_probabilities, has_image_scores, needs_probabilities, of_class
from fer_ablate.metrics.scores import score
from fer_ablate.training.own_metrics import BLOCKS, blocks, build_metrics

CLASSES = ("angry", "happy", "sad")
METRICS = (
    "acc",
    "top2",
    "macro_f1",
    "weighted_precision",
    "balanced_acc",
    "kappa",
    "precision/sad",
    "f1/happy",
    "ece",
    "auc",
    "loss",
)


@pytest.fixture(scope="module")
def drawn():
    """(N,) labels and (N, K) probabilities of a network that is right about most images."""
    generator = np.random.default_rng(0)
    labels = generator.choice(3, 80, p=[0.2, 0.5, 0.3]).astype(np.uint8)
    logits = generator.normal(0, 1, (80, 3)) + 1.2 * np.eye(3)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, probabilities.astype(np.float32)


def contributions(metric, labels, probabilities):
    if needs_probabilities(metric):
        return from_probabilities(metric, labels, probabilities)
    return from_labels(metric, labels, probabilities.argmax(axis=1), CLASSES)


def by_library(metric, labels, probabilities):
    """The metric as scikit-learn or torchmetrics has it."""
    predicted = probabilities.argmax(axis=1)
    if metric in ("acc", "top2", "ece"):
        return score(torch.from_numpy(probabilities), torch.from_numpy(labels).long(), CLASSES).metrics[metric]
    return {
        "macro_f1": lambda: f1_score(labels, predicted, average="macro"),
        "weighted_precision": lambda: precision_score(labels, predicted, average="weighted"),
        "balanced_acc": lambda: balanced_accuracy_score(labels, predicted),
        "kappa": lambda: cohen_kappa_score(labels, predicted),
        "precision/sad": lambda: precision_score(labels, predicted, labels=[2], average=None)[0],
        "f1/happy": lambda: f1_score(labels, predicted, labels=[1], average=None)[0],
        "auc": lambda: roc_auc_score(labels, probabilities / probabilities.sum(axis=1, keepdims=True), multi_class="ovr"),
        "loss": lambda: log_loss(labels, probabilities, labels=range(3)),
    }[metric]()


@pytest.mark.parametrize("metric", METRICS)
def test_contributions_average_to_the_metric(drawn, metric):
    assert has_image_scores(metric)
    assert contributions(metric, *drawn).mean() == pytest.approx(by_library(metric, *drawn), abs=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("metric", [metric for metric in METRICS if metric not in ("top2", "ece", "auc")])
def test_contributions_are_the_jackknifes_pseudo_values(drawn, metric):
    labels, probabilities = drawn
    n, every = len(labels), np.arange(len(labels))
    without = np.array([by_library(metric, labels[every != one], probabilities[every != one]) for one in every])
    pseudo = n * by_library(metric, *drawn) - (n - 1) * without
    found = contributions(metric, *drawn).astype(float)
    np.testing.assert_allclose(found - found.mean(), pseudo - pseudo.mean(), atol=1e-4)


def test_calibration_is_left_out_image_by_image(drawn):
    labels, probabilities = drawn
    every = np.arange(len(labels))
    without = np.array([from_probabilities("ece", labels[every != one], probabilities[every != one]).mean() for one in every])
    found = contributions("ece", *drawn)
    np.testing.assert_allclose(found - found.mean(), -(len(every) - 1) * (without - without.mean()), atol=1e-9)


def test_spread_of_the_area_is_delongs():
    """Two classes: the variance of DeLong's, from the placements of either kind among the other."""
    generator = np.random.default_rng(1)
    labels = (np.arange(60) % 3 == 0).astype(np.uint8)
    scores = np.round(generator.normal(labels, 1), 1)  # some are equal
    probabilities = 1 / (1 + np.exp(-np.stack([-scores, scores], axis=1)))
    wins = (scores[labels == 1][:, None] > scores[labels == 0]) + 0.5 * (scores[labels == 1][:, None] == scores[labels == 0])
    expected = wins.mean(axis=1).var(ddof=1) / 20 + wins.mean(axis=0).var(ddof=1) / 40
    found = from_probabilities("auc", labels, probabilities.astype(np.float32))
    assert found.mean() == pytest.approx(wins.mean())
    assert found.var(ddof=1) / 60 == pytest.approx(expected, rel=0.05)


def test_recall_is_over_the_images_of_its_class(drawn):
    labels, probabilities = drawn
    inside = of_class("recall/sad", labels, CLASSES)
    found = from_labels("recall/sad", labels[inside], probabilities[inside].argmax(axis=1), CLASSES)
    assert found.dtype == bool
    assert found.mean() == (probabilities[labels == 2].argmax(axis=1) == 2).mean()
    assert of_class("recall/bored", labels, CLASSES) is None
    assert of_class("f1/sad", labels, CLASSES) is None


def test_metrics_that_are_not_defined_have_none(drawn):
    labels, probabilities = drawn
    assert from_probabilities("auc", np.zeros(80, np.uint8), probabilities) is None  # no image of two classes
    assert from_labels("f1/bored", labels, labels, CLASSES) is None
    assert from_labels("kappa", np.zeros(4, np.uint8), np.zeros(4, np.uint8), CLASSES) is None
    assert not has_image_scores("support/sad")
    assert not has_image_scores("mine")


def test_blocks_show_the_spread_of_own_metrics():
    """Without one block of images at a time, accuracy spreads as it does image by image."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 2000)
    shares = generator.dirichlet(np.ones(3), 2000).astype(np.float32) + np.eye(3, dtype=np.float32)[labels] * 0.5
    own = build_metrics({"mine": "torchmetrics.Accuracy"}, 3, ["torchmetrics"])
    without = own.without_blocks(torch.from_numpy(shares), torch.from_numpy(labels), None)["mine"]
    right = (shares.argmax(axis=1) == labels).astype(float)
    pseudo = len(without) * right.mean() - (len(without) - 1) * np.array(without)
    assert len(without) == BLOCKS
    assert pseudo.mean() == pytest.approx(right.mean())
    assert pseudo.var(ddof=1) / BLOCKS == pytest.approx(right.var(ddof=1) / 2000, rel=0.5)


def test_persons_stay_in_one_block():
    groups = np.array([7, 7, 3, 7, 9, 3])
    found = blocks(6, groups)
    assert len({*zip(groups.tolist(), found.tolist(), strict=True)}) == 3
    assert np.array_equal(blocks(3, None), [0, 1, 2])
