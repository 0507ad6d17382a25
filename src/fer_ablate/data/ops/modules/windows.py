"""Modules that cut, move or resize images by whole pixels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from fer_ablate.config.choices import TestTimeAugmentation
from fer_ablate.data.views import views
from fer_ablate.sizes import Size


class RandomCrop(nn.Module):
    """Cut a window of one size out of each image, at a random place."""

    def __init__(self, size: Size, padding: int) -> None:
        super().__init__()
        self.size = size
        self.padding = padding

    def forward(self, faces: Tensor) -> Tensor:
        """Crop (N, C, H, W) to (N, C, *size)."""
        if self.padding:
            faces = functional.pad(faces, [self.padding] * 4)
        number, _, height, width = faces.shape
        # Drawn on the CPU, as kornia does, so that a seed gives the same crops on every device.
        top = torch.randint(height - self.size[0] + 1, (number, 1))
        left = torch.randint(width - self.size[1] + 1, (number, 1))
        return _windows(faces, top, left, self.size)


class RandomShift(nn.Module):
    """Move every image by a random number of whole pixels over a black background.

    Args:
        down: largest shift up or down.
        across: largest shift to the left or right.
        p: probability that an image is moved at all.
    """

    def __init__(self, down: int, across: int, p: float) -> None:
        super().__init__()
        self.down, self.across, self.p = down, across, p

    def forward(self, faces: Tensor) -> Tensor:
        """Move (N, C, H, W) within the same height and width."""
        number, _, height, width = faces.shape
        # A window of the padded image: its corner is at the width of the padding where nothing is moved.
        moved = torch.rand(number, 1) < self.p
        top = torch.where(moved, torch.randint(2 * self.down + 1, (number, 1)), self.down)
        left = torch.where(moved, torch.randint(2 * self.across + 1, (number, 1)), self.across)
        padded = functional.pad(faces, [self.across, self.across, self.down, self.down])
        return _windows(padded, top, left, (height, width))


def _windows(faces: Tensor, top: Tensor, left: Tensor, size: Size) -> Tensor:
    """Cut (N, C, *size) out of (N, C, H, W); `top` and `left` (N, 1) on the CPU are the upper left corners.

    One gather for the whole batch: kornia cuts image by image, with twice the time on a CPU and one kernel per image on a GPU.
    """
    rows = (top + torch.arange(size[0])).to(faces.device, non_blocking=True)
    columns = (left + torch.arange(size[1])).to(faces.device, non_blocking=True)
    images = torch.arange(faces.shape[0], device=faces.device)
    # Index tensors on both sides of the channel slice make numpy-style indexing move C to the end; permute moves it back.
    return faces[images[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class TenCrops(nn.Module):
    """Cut the ten windows of `views.views` out of every image."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, faces: Tensor) -> Tensor:
        """Crop (N, C, H, W) to (10 N, C, *size); the ten windows of one image are next to each other."""
        return views(faces, TestTimeAugmentation.ten_crop, self.size).transpose(0, 1).flatten(0, 1)


class Resized(nn.Module):
    """Resize by one of the `METHODS` of `windows.Resize`."""

    def __init__(self, size: Size, method: str) -> None:
        super().__init__()
        self.size = size
        self.method = method

    def forward(self, faces: Tensor) -> Tensor:
        """Resize (N, C, H, W) to (N, C, *size)."""
        height, width = faces.shape[-2:]
        if self.size == (height, width):
            return faces
        if self.method == "area":
            # Averaging is linear and separable: one matrix for the rows, one for the columns.
            down, across = _shares(height, self.size[0], faces.device), _shares(width, self.size[1], faces.device)
            return down @ faces @ across.T
        shrinks = self.size[0] < height or self.size[1] < width
        return functional.interpolate(faces, self.size, mode="bilinear", antialias=shrinks)


def _shares(before: int, after: int, device: torch.device) -> Tensor:
    """Share of each old pixel of a side in each new one: (after, before); every row has the sum 1."""
    # In float64, because the edges of new pixels are rarely exact in binary fractions.
    edges = torch.arange(after + 1, dtype=torch.float64) * before / after
    pixels = torch.arange(before, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return (covered.clamp(min=0) * after / before).float().to(device)
