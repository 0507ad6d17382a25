from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from fer_ablate.config.bounds import bound_faults
from fer_ablate.config.choices import LOSSES, ClassWeight, DivideBy
from fer_ablate.config.schema import LossConfig
from fer_ablate.optim.losses import balanced, build_loss

CONF = sorted((Path(__file__).parents[2] / "conf" / "loss").rglob("*.yaml"))
COUNTS = np.array([10, 1, 4, 25, 10, 8, 12])
SCORES = torch.tensor([[2.0, 0.5, -1.0, 0.0, 3.0, -2.0, 1.0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]])
LABELS = torch.tensor([4, 1])


def loss(name, **settings):
    return build_loss(LossConfig(name=name, **settings), COUNTS, 7)


def test_every_loss_has_its_file():
    assert {path.stem for path in CONF} == set(LOSSES)


@pytest.mark.parametrize("path", CONF, ids=lambda path: path.stem)
def test_every_stored_loss_can_be_learnt_from(path):
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(LossConfig), OmegaConf.load(path)))
    assert bound_faults(config, "loss") == []
    scores = SCORES.clone().requires_grad_()
    build_loss(config, COUNTS, 7)(scores, LABELS).backward()
    assert (scores.grad[torch.arange(2), LABELS] < 0).all()


def test_cross_entropy_by_hand():
    scores = torch.tensor([[0.0, log(3.0)]])
    found = build_loss(LossConfig(name="cross_entropy"), [1, 1], 2)(scores, torch.tensor([0]))
    assert found.item() == pytest.approx(log(4))  # p = 1/4


def test_focal_by_hand():
    scores = torch.tensor([[0.0, log(3.0)]])
    found = build_loss(LossConfig(name="focal", gamma=2.0), [1, 1], 2)(scores, torch.tensor([1]))
    assert found.item() == pytest.approx((1 / 4) ** 2 * log(4 / 3), rel=1e-6)  # p = 3/4


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", ClassWeight)
def test_focal_with_gamma_0_is_cross_entropy(weight, smoothing):
    settings = {"class_weight": weight, "label_smoothing": smoothing}
    soft = functional.softmax(SCORES.flip(1), dim=1)
    for targets in (LABELS, soft):
        expected = loss("cross_entropy", **settings)(SCORES, targets)
        torch.testing.assert_close(loss("focal", gamma=0.0, **settings)(SCORES, targets), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_a_certain_distribution_equals_its_label(name):
    certain = functional.one_hot(LABELS, 7).double()
    torch.testing.assert_close(loss(name)(SCORES, certain), loss(name)(SCORES, LABELS))


def test_soft_targets_by_hand():
    target = torch.tensor([[0.25, 0.75]])
    scores = torch.tensor([[0.0, log(3.0)]])
    found = build_loss(LossConfig(name="soft_target"), [1, 1], 2)(scores, target)
    assert found.item() == pytest.approx(0.25 * log(4) + 0.75 * log(4 / 3))  # the entropy: nothing could be better


def test_label_smoothing_moves_its_share_to_all_classes():
    found = build_loss(LossConfig(name="soft_target", label_smoothing=0.2), [1, 1], 2)(
        torch.tensor([[0.0, log(3.0)]]), torch.tensor([0])
    )
    assert found.item() == pytest.approx(0.9 * log(4) + 0.1 * log(4 / 3))


def test_balanced_weights_are_those_of_sklearn():
    labels = np.repeat(np.arange(7), COUNTS)
    np.testing.assert_allclose(balanced(COUNTS), compute_class_weight("balanced", classes=np.arange(7), y=labels))


def test_a_class_without_training_images_weighs_nothing():
    assert balanced([3, 0, 1]).tolist() == pytest.approx([4 / 9, 0.0, 4 / 3])


@pytest.mark.parametrize("name", LOSSES)
def test_weighted_loss_divided_by_images_by_hand(name):
    """Classes with 3 and 1 training images weigh 4 / (2 * 3) and 4 / (2 * 1); Keras divides by the 2 images of the batch."""
    scores = torch.tensor([[0.0, log(3.0)], [0.0, log(3.0)]])  # p = 1/4 and 3/4
    labels = torch.tensor([0, 1])
    weighted = 2 / 3 * log(4) + 2 * log(4 / 3)
    means = {}
    for divide_by in DivideBy:
        settings = {"class_weight": ClassWeight.balanced, "divide_by": divide_by, "gamma": 0.0}
        means[divide_by] = build_loss(LossConfig(name=name, **settings), [3, 1], 2)(scores, labels).item()
    by_weights = weighted / 2 if name == "soft_target" else weighted / (2 / 3 + 2)
    assert means == {DivideBy.images: pytest.approx(weighted / 2), DivideBy.weights: pytest.approx(by_weights)}


@pytest.mark.parametrize("name", LOSSES)
def test_without_class_weights_the_mean_is_one(name):
    by_images, by_weights = (loss(name, divide_by=divide_by)(SCORES, LABELS) for divide_by in DivideBy)
    assert torch.equal(by_images, by_weights)


def test_class_weights_reach_losses_but_no_checkpoint():
    weighted = loss("cross_entropy", class_weight=ClassWeight.balanced)
    expected = functional.cross_entropy(SCORES, LABELS, torch.tensor(balanced(COUNTS), dtype=torch.float32))
    torch.testing.assert_close(weighted(SCORES, LABELS), expected)
    assert weighted.state_dict() == {}


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_losses_are_computed_in_32_bits(name):
    weighted = loss(name, class_weight=ClassWeight.balanced)
    half = SCORES.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = weighted(half, LABELS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, weighted(half.float(), LABELS))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_gradient_is_finite_for_a_certain_network(gamma):
    scores = torch.tensor([[100.0, 0.0]], requires_grad=True)
    build_loss(LossConfig(name="focal", gamma=gamma), [1, 1], 2)(scores, torch.tensor([0])).backward()
    assert scores.grad.isfinite().all()
