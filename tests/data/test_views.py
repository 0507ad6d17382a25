import pytest
import torch

from fer_ablate.config.schema import TestTimeAugmentation as Tta
from fer_ablate.data.checks import view_faults
from fer_ablate.data.views import centre_crop, views
from fer_ablate.errors import UserError

FACE = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)


def listed(stack):
    return stack[:, 0, 0].tolist()


def test_no_augmentation_is_the_centre():
    assert listed(views(FACE, Tta.none, (2, 2))) == [[[5, 6], [9, 10]]]
    assert torch.equal(views(FACE, Tta.none, (4, 4))[0], FACE)


def test_flip_adds_the_mirror_of_the_centre():
    assert listed(views(FACE, Tta.flip, (2, 2))) == [[[5, 6], [9, 10]], [[6, 5], [10, 9]]]


def test_ten_crop_is_corners_centre_and_mirrors():
    plain = [[[0, 1], [4, 5]], [[2, 3], [6, 7]], [[8, 9], [12, 13]], [[10, 11], [14, 15]], [[5, 6], [9, 10]]]
    assert listed(views(FACE, Tta.ten_crop, (2, 2))) == plain + [[row[::-1] for row in crop] for crop in plain]


def test_views_keep_type_and_batch():
    stack = views(torch.zeros(3, 2, 48, 48, dtype=torch.uint8), Tta.ten_crop, (40, 40))
    assert stack.shape == (10, 3, 2, 40, 40)
    assert stack.dtype == torch.uint8


def test_an_odd_margin_moves_the_centre_up_left():
    assert centre_crop(FACE, (3, 3))[0, 0].tolist() == [[0, 1, 2], [4, 5, 6], [8, 9, 10]]


def test_ten_crop_of_the_whole_image_is_refused():
    with pytest.raises(UserError, match=r"ten_crop with crops of 4 pixels: all are the whole 4x4 image"):
        views(FACE, Tta.ten_crop, (4, 4))


@pytest.mark.parametrize("kind", list(Tta), ids=lambda kind: kind.name)
def test_a_crop_beyond_the_image_is_refused(kind):
    with pytest.raises(UserError, match=r"evaluation.crop: 60: crop is larger than the 4x4 images"):
        views(FACE, kind, (60, 60))


def test_a_fitting_ten_crop_has_no_faults():
    assert view_faults(Tta.ten_crop, (40, 40), (48, 48)) == []


TALL = torch.arange(12, dtype=torch.uint8).view(1, 1, 4, 3)


def test_views_may_be_taller_than_wide():
    assert listed(views(TALL, Tta.flip, (3, 2))) == [[[0, 1], [3, 4], [6, 7]], [[1, 0], [4, 3], [7, 6]]]
    plain = [[[0, 1], [3, 4], [6, 7]], [[1, 2], [4, 5], [7, 8]], [[3, 4], [6, 7], [9, 10]], [[4, 5], [7, 8], [10, 11]]]
    assert listed(views(TALL, Tta.ten_crop, (3, 2)))[:4] == plain


@pytest.mark.parametrize("size", [(5, 2), (2, 4)], ids=["too high", "too wide"])
def test_a_view_must_fit_along_both_axes(size):
    with pytest.raises(UserError, match=rf"\[{size[0]}, {size[1]}\]: crop is larger than the 4x3 images\n    Choose .* \[4, 3\]"):
        views(TALL, Tta.none, size)
