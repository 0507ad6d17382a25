"""Parts of the face, and the weight on them."""

import numpy as np
import pytest

from fer_ablate.explain.regions import REGIONS, areas, as_shares, region_masks, region_shares


@pytest.mark.parametrize(("size", "side"), [(48, 48), (48, 42), (100, 100), (20, 20)])
def test_every_pixel_belongs_to_one_region(size, side):
    masks = region_masks(size, side)
    assert masks.shape == (len(REGIONS), side, side)
    assert (masks.sum(axis=0) == 1).all()
    assert areas(masks).sum() == pytest.approx(1)


def test_a_crop_cuts_the_regions_like_the_face():
    assert (region_masks(48, 40) == region_masks(48, 48)[:, 4:44, 4:44]).all()


def test_regions_lie_from_top_to_bottom_and_are_symmetric():
    masks = region_masks(48, 48)
    centres = {name: np.argwhere(mask).mean(axis=0) for name, mask in zip(REGIONS, masks, strict=True)}
    rows = [centres[name][0] for name in ("forehead", "brows", "eyes", "nose", "mouth", "chin")]
    assert rows == sorted(rows)
    assert (masks == masks[:, :, ::-1]).all()


def test_shares_add_up_to_one_and_follow_the_weight():
    masks = region_masks(48, 48)
    mouth = masks[REGIONS.index("mouth")]
    half = np.where(mouth, 1 / mouth.sum(), 0) + np.where(masks[0], 1 / masks[0].sum(), -7)  # negative weight counts for nothing
    half = np.where(mouth, 1 / mouth.sum(), half)
    shares = region_shares(half[None].astype(np.float32), masks)
    assert shares.sum() == pytest.approx(1)
    assert shares[REGIONS.index("mouth")] == pytest.approx(0.5)
    assert shares[0] == pytest.approx(0.5)


def test_a_map_without_preference_gives_the_areas():
    masks = region_masks(48, 48)
    assert region_shares(np.ones((2, 48, 48), np.float32), masks) == pytest.approx(areas(masks))


def test_empty_maps_do_not_count():
    masks = region_masks(48, 48)
    maps = np.stack([np.ones((48, 48)), -np.ones((48, 48))]).astype(np.float32)
    assert not as_shares(maps)[1].any()
    assert region_shares(maps, masks).sum() == pytest.approx(1)
    assert region_shares(maps[1:], masks) is None
