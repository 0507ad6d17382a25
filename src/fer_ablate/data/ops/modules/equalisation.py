"""Histogram equalisation of whole batches, global or in tiles with limited contrast, with the same results as OpenCV.

kornia's functions give other results. Its `equalize` follows Pillow, whose lookup table rises in whole steps: in a fifth of the
images of FER2013 it differs from OpenCV by more than 20 levels. Its `equalize_clahe` cannot be exported for a variable number of
images, and differs by 4 levels on average because its tiles meet half a pixel earlier.

Letters: N images, C channels, H W pixels, T tiles of an image, P pixels of a tile. Counts are integers, since sums of floats
depend on their order on a GPU.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from fer_ablate.sizes import Size

LEVELS = 256

_BRIGHTNESS = (0.299, 0.587, 0.114)  # shares of red, green and blue (ITU-R BT.601, as in OpenCV's YCrCb)


def equalized(faces: Tensor) -> Tensor:
    """Spread the brightness of every image evenly from black to white, as OpenCV's `equalizeHist` does.

    Args:
        faces: (N, C, H, W) in [0, 1], gray or RGB, rounded to 256 levels. Of a colour image only the brightness is changed.

    Returns:
        (N, C, H, W) in [0, 1]; an image with a single level is not changed.
    """
    return _on_brightness(faces, _equalized)


def clahe(faces: Tensor, clip_limit: float | Tensor, grid: Size) -> Tensor:
    """Equalise every image tile by tile, with limited contrast, as OpenCV's `createCLAHE` does (Zuiderveld 1994).

    Args:
        faces: (N, C, H, W) in [0, 1], gray or RGB, rounded to 256 levels. Of a colour image only the brightness is changed.
        clip_limit: largest count of a level, in multiples of the mean count of a tile; one number, or (N,).
        grid: rows and columns of tiles, fewer than the image has pixels; if they do not divide its sides, the image is mirrored
            to complete the last tiles.

    Returns:
        (N, C, H, W) in [0, 1].
    """
    return _on_brightness(faces, lambda levels: _equalized_tiles(levels, clip_limit, grid))


def _on_brightness(faces: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `change` to the brightness levels (N, H, W); the differences between red, green and blue stay the same."""
    if faces.shape[1] == 1:
        return change((faces[:, 0] * (LEVELS - 1)).round().long())[:, None] / (LEVELS - 1)
    shares = torch.tensor(_BRIGHTNESS, device=faces.device).view(1, 3, 1, 1)
    bright = (faces * shares).sum(1)
    changed = change((bright * (LEVELS - 1)).round().long()) / (LEVELS - 1)
    return (faces + (changed - bright)[:, None]).clamp(0, 1)


def _counts(levels: Tensor) -> Tensor:
    """Count how often each level occurs in each row of (M, P): (M, 256)."""
    zeros = torch.zeros((levels.shape[0], LEVELS), dtype=torch.int32, device=levels.device)
    return zeros.scatter_add(1, levels, torch.ones_like(levels, dtype=torch.int32))


def _running(counts: Tensor) -> Tensor:
    """Cumulative sums over the levels."""
    return counts.cumsum(-1, dtype=torch.int32)


def _equalized(levels: Tensor) -> Tensor:
    """Equalise (N, H, W) levels; returns floats."""
    flat = levels.flatten(1)
    up_to = _running(_counts(flat))
    total = flat.shape[1]
    lowest = up_to.gather(1, flat.amin(1, keepdim=True))  # number of pixels of the darkest level, which becomes black
    scale = torch.full_like(lowest, LEVELS - 1) / (total - lowest).clamp(min=1)  # dividing a Python number would round twice
    table = ((up_to - lowest) * scale).round()
    return torch.where(lowest == total, flat, table.gather(1, flat)).view_as(levels).float()


def _equalized_tiles(levels: Tensor, clip_limit: float | Tensor, grid: Size) -> Tensor:
    """Equalise (N, H, W) levels tile by tile; returns floats."""
    height, width = levels.shape[-2:]
    rows, columns = grid
    if height % rows or width % columns:  # OpenCV then extends both sides, even one that the grid divides
        wider = (0, columns - width % columns, 0, rows - height % rows)
        padded = functional.pad(levels[:, None].float(), wider, mode="reflect")[:, 0].long()
    else:
        padded = levels
    tall, wide = padded.shape[-2] // rows, padded.shape[-1] // columns
    tiles = padded.view(-1, rows, tall, columns, wide).transpose(2, 3).reshape(-1, rows * columns, tall * wide)
    tables = _tile_tables(tiles, clip_limit).flatten(1)
    above, below, down = _between(height, tall, rows, levels.device)
    left, right, across = _between(width, wide, columns, levels.device)

    def looked_up(row: Tensor, column: Tensor) -> Tensor:
        tile = row[:, None] * columns + column
        return tables.gather(1, (tile * LEVELS + levels).flatten(1)).view_as(levels)

    down = down[:, None]
    upper = looked_up(above, left) * (1 - across) + looked_up(above, right) * across
    lower = looked_up(below, left) * (1 - across) + looked_up(below, right) * across
    return (upper * (1 - down) + lower * down).round()


def _tile_tables(tiles: Tensor, clip_limit: float | Tensor) -> Tensor:
    """Lookup tables (N, T, 256) of tiles (N, T, P), as floats of whole numbers."""
    pixels = tiles.shape[-1]
    counts = _counts(tiles.flatten(0, 1)).view(-1, tiles.shape[1], LEVELS)
    if isinstance(clip_limit, Tensor):
        kept = torch.minimum(counts, (clip_limit.to(tiles.device) * pixels / LEVELS).int().clamp(min=1).view(-1, 1, 1))
    else:
        kept = counts.clamp(max=max(int(clip_limit * pixels / LEVELS), 1))
    # The clipped counts are shared out equally among all levels, and the remainder among some of them.
    clipped = pixels - kept.sum(-1, keepdim=True)
    filled = kept + (clipped // LEVELS).int() + _spread(tiles.device)[clipped[..., 0] % LEVELS]
    return (_running(filled) * ((LEVELS - 1) / pixels)).round()


def _spread(device: torch.device) -> Tensor:
    """Levels that get one of the remaining counts each: (256, 256); row R is for a remainder of R, spaced evenly from black."""
    rest, level = torch.arange(LEVELS, device=device)[:, None], torch.arange(LEVELS, device=device)
    distance = torch.full_like(rest, LEVELS) // rest.clamp(min=1)  # number // tensor cannot be exported to ONNX
    return ((level % distance == 0) & (level // distance < rest)).int()


def _between(pixels: int, tile: int, tiles: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each pixel of a side: the tile before it, the tile after it, and its relative position between their centres."""
    place = torch.arange(pixels, device=device) * (1 / tile) - 0.5
    before = place.floor()
    return before.long().clamp(min=0), (before.long() + 1).clamp(max=tiles - 1), place - before
