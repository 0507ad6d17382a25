"""Parts of a face as places in the image, and how much of a heat map lies on each.

FER2013's faces are roughly registered: in the mean of its 28,709 training images both eyes, the nose and the mouth stand out
clearly. The boxes were read off that mean face, in pixels of 48: eyes in rows 15 to 20, the tip of the nose in row 28, the lips
in rows 35 to 40. They are true on average, not for a turned head; a share of a few images says little.

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
"""Region -> boxes as first row, row after the last, first column, column after the last, in pixels of 48. None overlap."""

REGIONS = (*_BOXES, BACKGROUND)
"""From top to bottom; the background is all the rest, hair and ears among it."""


def region_masks(image_size: Size, size: Size) -> NDArray[np.bool_]:
    """Where each region lies in what a network sees; every pixel belongs to one.

    The boxes are stretched to the shape of the images, height and width each by its own factor.

    Args:
        image_size: of the prepared images.
        size: H and W, of the centre crop.

    Returns:
        (R, H, W), in the order of `REGIONS`.
    """
    down, across = ((np.arange(side) + 0.5) * SIDE / side for side in image_size)
    masks = np.zeros((len(REGIONS), *image_size), dtype=bool)
    for mask, boxes in zip(masks, _BOXES.values(), strict=False):
        for top, bottom, left, right in boxes:
            mask |= np.outer((down >= top) & (down < bottom), (across >= left) & (across < right))
    masks[-1] = ~masks[:-1].any(axis=0)
    return centre_crop(torch.from_numpy(masks)[:, None], size)[:, 0].numpy()


def as_shares(maps: Maps) -> Maps:
    """The positive part of each map (n, H, W), its sum made 1; a map without one stays empty."""
    positive = np.maximum(maps, 0)
    totals = positive.sum(axis=(1, 2), keepdims=True)
    shares: Maps = np.divide(positive, totals, out=np.zeros_like(positive), where=totals > 0)
    return shares


def region_shares(maps: Maps, masks: NDArray[np.bool_]) -> Shares | None:
    """Share of the positive weight that lies on each region, mean over the maps.

    Args:
        maps: (n, H, W); those without positive weight do not count.
        masks: (R, H, W).

    Returns:
        (R,), of which the sum is 1; None if no map has positive weight.
    """
    shares = as_shares(maps)
    filled = shares[shares.any(axis=(1, 2))]
    if not len(filled):
        return None
    parts: Shares = np.einsum("nij,rij->r", filled.astype(np.float64), masks.astype(np.float64)) / len(filled)
    return parts


def areas(masks: NDArray[np.bool_]) -> Shares:
    """Share of the pixels (R,) in each region of masks (R, H, W): what a map without preference would give."""
    found: Shares = masks.mean(axis=(1, 2))
    return found
