"""Testing finished weights: every image once, and averages over views as computed by hand."""

import numpy as np
import pytest
import torch

from fer_ablate.data.views import views
from fer_ablate.training.assembly import build_evaluator, build_module
from fer_ablate.training.evaluation import split_results

ROWS = np.arange(140, 280)  # val and test


@pytest.fixture
def config_of(config_of):
    """A network that tells mirrored faces apart before it is trained."""
    return lambda *overrides: config_of("model=pisa", "model.width=0.125", *overrides)


@pytest.fixture
def predict(config_of, task_of):
    """Predictions of an untrained network for some rows."""

    def predictions(*overrides, rows=ROWS):
        prepared = task_of(config_of("augment=crop44", *overrides))
        module = build_module(prepared.config, prepared.data, "key")
        evaluator = build_evaluator(prepared.config, prepared.data.image_size, prepared.hardware)
        return evaluator.predict(module.network, module.preprocess, prepared.data.faces, rows)

    return predictions


def by_hand(prepared, crops):
    """Mean over the given crops of the probabilities of rows 140 to 149."""
    module = build_module(prepared.config, prepared.data, "key").eval()
    faces = torch.from_numpy(prepared.data.faces.faces[140:150].copy()).float() / 255
    with torch.no_grad():
        scores = [module.network((crop(faces) - 0.5) / 0.5).softmax(dim=1) for crop in crops]
    return torch.stack(scores).mean(dim=0).numpy()


def test_every_row_comes_once_whatever_the_order(predict):
    shuffled = np.concatenate([np.random.default_rng(0).permutation(ROWS), ROWS[:50]])
    plain, mixed = predict(), predict(rows=shuffled)
    assert np.array_equal(mixed.rows, ROWS)
    assert np.array_equal(mixed.probabilities, plain.probabilities)
    np.testing.assert_allclose(plain.probabilities.sum(axis=1), 1, rtol=1e-5)


def test_rows_are_found_again_with_their_labels(predict, config_of, task_of):
    labels, rows = task_of(config_of()).data.faces.labels, ROWS[[90, 3, 17]]
    part = predict().of(rows)
    assert np.array_equal(part.rows, rows)
    assert np.array_equal(part.labels, labels[rows])


@pytest.mark.parametrize("tta", ["none", "flip", "ten_crop"])
def test_the_batch_size_does_not_matter(tta, predict):
    one, other = (predict(f"evaluation.tta={tta}", f"trainer.evaluation_batch_size={size}", rows=ROWS[:30]) for size in (30, 7))
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_flip_is_the_mean_with_the_mirror(predict, config_of, task_of):
    prepared = task_of(config_of("augment=crop44"))
    centre = [lambda faces: faces[..., 2:46, 2:46], lambda faces: faces[..., 2:46, 2:46].flip(-1)]
    found = predict("evaluation.tta=flip", rows=ROWS[:10]).probabilities
    np.testing.assert_allclose(found, by_hand(prepared, centre), atol=1e-5)
    assert not np.allclose(found, predict(rows=ROWS[:10]).probabilities, atol=1e-4)


def test_ten_crop_is_the_mean_of_ten_views(predict, config_of, task_of):
    prepared = task_of(config_of("augment=crop44"))
    places = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]

    def crop(top, left, mirrored):
        def cut(faces):
            part = faces[..., top : top + 44, left : left + 44]
            return part.flip(-1) if mirrored else part

        return cut

    ten = [crop(top, left, mirrored) for top, left in places for mirrored in (False, True)]
    found = predict("evaluation.tta=ten_crop", rows=ROWS[:10]).probabilities
    np.testing.assert_allclose(found, by_hand(prepared, ten), atol=1e-5)


def test_there_are_one_two_or_ten_views(config_of):
    faces = torch.zeros(3, 1, 48, 48)
    shapes = {
        kind: len(views(faces, config_of(f"evaluation.tta={kind}").evaluation.tta, (40, 40)))
        for kind in ("none", "flip", "ten_crop")
    }
    assert shapes == {"none": 1, "flip": 2, "ten_crop": 10}


def test_a_part_without_images_has_no_scores(predict, config_of, task_of):
    classes = task_of(config_of()).data.faces.classes
    results = split_results(predict(), {"val": ROWS[:70], "public": ROWS[:0]}, classes)
    assert {name: result.n for name, result in results.items()} == {"val": 70}


def test_roles_that_are_official_splits_share_scores(predict, config_of, task_of):
    classes, found = task_of(config_of()).data.faces.classes, predict()
    together = split_results(found, {"val": ROWS[:70], "test": ROWS[70:], "public": ROWS[:70]}, classes)
    alone = {
        name: split_results(found, {name: rows}, classes)[name] for name, rows in (("test", ROWS[70:]), ("public", ROWS[:70]))
    }
    assert together["val"] == together["public"] == alone["public"] != together["test"] == alone["test"]
