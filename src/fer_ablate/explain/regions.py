"""Defines the parts of a face as places in the image, and computes how much weight of a heat map is on each.

FER2013's faces are roughly registered: in the mean of its 28,709 training images both eyes, the nose and the mouth stand out
clearly. The boxes were read off that mean face, in pixels of 48: eyes in rows 15 to 20, the tip of the nose in row 28, the lips
in rows 35 to 40. They fit on average, not for a turned head, so shares over only a few images mean little.

Letters: `n` images, `R` regions, `H W` pixels of what the network sees.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from fer_ablate.data.views import centre_crop
from fer_ablate.explain.attributions import Maps
from fer_ablate.labels import SIDE
from fer_ablate.sizes import Size

Shares = NDArray[np.float64]

BACKGROUND = "background"

_BOXES: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "forehead": ((3, 11, 10, 38),),
    "brows": ((11, 15, 8, 40),),
    "eyes": ((15, 21, 7, 21), (15, 21, 27, 41)),
    "nose": ((15, 21, 21, 27), (21, 33, 17, 31)),
    "cheeks": ((21, 33, 7, 17), (21, 33, 31, 41), (33, 40, 9, 14), (33, 40, 34, 39)),
    "mouth": ((33, 42, 14, 34),),
    "chin": ((42, 48, 15, 33),),
}
"""Region -> boxes: first row, row after the last, first column, column after the last, in pixels of 48. No two overlap."""

REGIONS = (*_BOXES, BACKGROUND)
"""Regions from top to bottom; the background is everything else, including hair and ears."""


def region_masks(image_size: Size, size: Size) -> NDArray[np.bool_]:
    """Mark the pixels of each region in what a network sees; every pixel belongs to exactly one region.

    The boxes are stretched to the shape of the images, height and width each by its own factor.

    Args:
        image_size: size of the prepared images.
        size: H and W of the centre crop.

    Returns:
        (R, H, W), in the order of `REGIONS`.
    """
    # The centre of a pixel decides on its region, so every pixel belongs to exactly one.
    down, across = ((np.arange(side) + 0.5) * SIDE / side for side in image_size)
    masks = np.zeros((len(REGIONS), *image_size), dtype=bool)
    for mask, boxes in zip(masks, _BOXES.values(), strict=False):
        for top, bottom, left, right in boxes:
            mask |= np.outer((down >= top) & (down < bottom), (across >= left) & (across < right))
    masks[-1] = ~masks[:-1].any(axis=0)
    return centre_crop(torch.from_numpy(masks)[:, None], size)[:, 0].numpy()


def as_shares(maps: Maps) -> Maps:
    """Scale the positive part of each map (n, H, W) to a sum of 1; a map without positive weight stays zero."""
    positive = np.maximum(maps, 0)
    totals = positive.sum(axis=(1, 2), keepdims=True)
    shares: Maps = np.divide(positive, totals, out=np.zeros_like(positive), where=totals > 0)
    return shares


def region_shares(maps: Maps, masks: NDArray[np.bool_]) -> Shares | None:
    """Compute the share of the positive weight on each region, mean over the maps.

    Args:
        maps: (n, H, W); maps without positive weight do not count.
        masks: (R, H, W).

    Returns:
        (R,) with a sum of 1; None if no map has positive weight.
    """
    shares = as_shares(maps)
    filled = shares[shares.any(axis=(1, 2))]
    if not len(filled):
        return None
    parts: Shares = np.einsum("nij,rij->r", filled.astype(np.float64), masks.astype(np.float64)) / len(filled)
    return parts


def areas(masks: NDArray[np.bool_]) -> Shares:
    """Compute the share of the pixels (R,) in each region of masks (R, H, W), as a map with equal weight everywhere has it."""
    found: Shares = masks.mean(axis=(1, 2))
    return found
