"""Views of an image whose scores are averaged when a network is tested."""

import torch
from torch import Tensor

from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.errors import Fault, UserError


def check_views(kind: TestTimeAugmentation, size: int, image_size: int) -> list[Fault]:
    """List what is wrong with test crops of `size` pixels on images of `image_size` pixels."""
    if size > image_size:
        problem = f"{size}: crop is larger than the {image_size}x{image_size} images"
        return [Fault("evaluation.crop", problem, f"Choose a crop up to {image_size}.")]
    if kind is TestTimeAugmentation.ten_crop and size == image_size:
        problem = f"ten_crop with crops of {size} pixels: all are the whole {image_size}x{image_size} image"
        return [Fault("evaluation.tta", problem, f"Set evaluation.crop below {image_size}, train with a crop, or use tta: flip.")]
    return []


def centre_crop(faces: Tensor, size: int) -> Tensor:
    """Cut (N, C, H, W) to the (N, C, size, size) in the middle, half a pixel up and left if it does not come out even."""
    assert size <= min(faces.shape[-2:]), (size, faces.shape)
    top, left = (faces.shape[-2] - size) // 2, (faces.shape[-1] - size) // 2
    return faces[..., top : top + size, left : left + size]


def views(faces: Tensor, kind: TestTimeAugmentation, size: int) -> Tensor:
    """Stack the views of every face that testing averages over.

    Args:
        faces: (N, C, H, W), of any type.
        kind: `none` is the centre crop, `flip` adds its mirror, `ten_crop` is top left, top right, bottom left,
            bottom right and centre, then the mirrors of these five.
        size: side of the views in pixels.

    Returns:
        (V, N, C, size, size) with V = 1, 2 or 10.

    Raises:
        UserError: a view does not fit into the images, or the ten crops are all the same.
    """
    height, width = faces.shape[-2:]
    if faults := check_views(kind, size, min(height, width)):
        raise UserError("; ".join(map(str, faults)))
    centre = centre_crop(faces, size)
    if kind is TestTimeAugmentation.none:
        return centre[None]
    crops = [centre]
    if kind is TestTimeAugmentation.ten_crop:
        corners = [(top, left) for top in (0, height - size) for left in (0, width - size)]
        crops = [*(faces[..., top : top + size, left : left + size] for top, left in corners), centre]
    plain = torch.stack(crops)
    return torch.cat([plain, plain.flip(-1)])
