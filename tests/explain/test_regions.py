"""Parts of the face, and the weight on them."""

import numpy as np
import pytest

from fer_ablate.explain.regions import REGIONS, areas, as_shares, region_masks, region_shares

SQUARE = (48, 48)


@pytest.mark.parametrize(
    ("image_size", "size"),
    [(SQUARE, SQUARE), (SQUARE, (42, 42)), ((100, 100), (100, 100)), ((20, 20), (20, 20)), ((56, 40), (50, 40))],
)
def test_every_pixel_belongs_to_one_region(image_size, size):
    masks = region_masks(image_size, size)
    assert masks.shape == (len(REGIONS), *size)
    assert (masks.sum(axis=0) == 1).all()
    assert areas(masks).sum() == pytest.approx(1)


def test_a_crop_cuts_the_regions_like_the_face():
    assert (region_masks(SQUARE, (40, 40)) == region_masks(SQUARE, SQUARE)[:, 4:44, 4:44]).all()


def test_regions_are_stretched_to_the_image():
    tall = region_masks((96, 48), (96, 48))
    wide = region_masks((48, 96), (48, 96))
    square = region_masks(SQUARE, SQUARE)
    assert (tall == square.repeat(2, axis=1)).all()
    assert (wide == square.repeat(2, axis=2)).all()
    assert areas(tall) == pytest.approx(areas(square))
    mouth = tall[REGIONS.index("mouth")]
    rows, columns = np.flatnonzero(mouth.any(axis=1)), np.flatnonzero(mouth.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (66, 83, 14, 33)


def test_regions_are_symmetric_and_in_order():
    masks = region_masks(SQUARE, SQUARE)
    centres = {name: np.argwhere(mask).mean(axis=0) for name, mask in zip(REGIONS, masks, strict=True)}
    rows = [centres[name][0] for name in ("forehead", "brows", "eyes", "nose", "mouth", "chin")]
    assert rows == sorted(rows)
    assert (masks == masks[:, :, ::-1]).all()


def test_shares_add_up_and_follow_the_weight():
    masks = region_masks(SQUARE, SQUARE)
    mouth = masks[REGIONS.index("mouth")]
    half = np.where(mouth, 1 / mouth.sum(), 0) + np.where(masks[0], 1 / masks[0].sum(), -7)  # negative weight counts for nothing
    half = np.where(mouth, 1 / mouth.sum(), half)
    shares = region_shares(half[None].astype(np.float32), masks)
    assert shares.sum() == pytest.approx(1)
    assert shares[REGIONS.index("mouth")] == pytest.approx(0.5)
    assert shares[0] == pytest.approx(0.5)


def test_a_map_without_preference_gives_the_areas():
    masks = region_masks(SQUARE, SQUARE)
    assert region_shares(np.ones((2, 48, 48), np.float32), masks) == pytest.approx(areas(masks))


def test_empty_maps_do_not_count():
    masks = region_masks(SQUARE, SQUARE)
    maps = np.stack([np.ones((48, 48)), -np.ones((48, 48))]).astype(np.float32)
    assert not as_shares(maps)[1].any()
    assert region_shares(maps, masks).sum() == pytest.approx(1)
    assert region_shares(maps[1:], masks) is None
