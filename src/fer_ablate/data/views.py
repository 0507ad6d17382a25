"""Test-time views of an image: centre crop, mirror or ten crops, whose scores are averaged."""

import torch
from torch import Tensor

from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.data.checks import view_faults
from fer_ablate.errors import UserError
from fer_ablate.sizes import Size


def centre_crop(faces: Tensor, size: Size) -> Tensor:
    """Cut the middle (N, C, *size) out of (N, C, H, W); an odd margin is one pixel smaller at the top and left."""
    height, width = size
    top, left = (faces.shape[-2] - height) // 2, (faces.shape[-1] - width) // 2
    assert min(top, left) >= 0, (size, faces.shape)
    return faces[..., top : top + height, left : left + width]


def views(faces: Tensor, kind: TestTimeAugmentation, size: Size) -> Tensor:
    """Stack the views of every face that a test averages over.

    Args:
        faces: (N, C, H, W) of any type.
        kind: `none` is the centre crop, `flip` adds its mirror, `ten_crop` is top left, top right, bottom left,
            bottom right and centre, then the mirrors of these five.
        size: height and width of the views in pixels.

    Returns:
        (V, N, C, *size) with V = 1, 2 or 10.

    Raises:
        UserError: a view is larger than the images, or all ten crops are the whole image.
    """
    height, width = faces.shape[-2:]
    if faults := view_faults(kind, size, (height, width)):
        raise UserError("; ".join(map(str, faults)))
    centre = centre_crop(faces, size)
    if kind is TestTimeAugmentation.none:
        return centre[None]
    crops = [centre]
    if kind is TestTimeAugmentation.ten_crop:
        corners = [(top, left) for top in (0, height - size[0]) for left in (0, width - size[1])]
        crops = [*(faces[..., top : top + size[0], left : left + size[1]] for top, left in corners), centre]
    # All plain crops first, then their mirrors in the same order.
    plain = torch.stack(crops)
    return torch.cat([plain, plain.flip(-1)])
