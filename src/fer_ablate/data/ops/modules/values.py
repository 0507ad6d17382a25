"""Modules and functions that change the values of pixels; `equalisation` has those that follow a histogram."""

from collections.abc import Callable, Sequence

import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor, nn

from fer_ablate.data.ops.values import Strength


class Changed(nn.Module):
    """Apply a change with one strength for all images, or with a strength that is drawn for each of them.

    Args:
        change: takes faces (N, C, H, W) and a strength, a number or (N, 1, 1, 1), and returns changed faces.
        strength: the number, or the interval it is drawn from.
        p: probability that an image is changed at all.
    """

    def __init__(self, change: Callable[[Tensor, float | Tensor], Tensor], strength: Strength, p: float) -> None:
        super().__init__()
        self.change, self.strength, self.p = change, strength, p

    def forward(self, faces: Tensor) -> Tensor:
        """Change (N, C, H, W) in [0, 1]; with a single strength and a probability of 1 nothing is random."""
        number = faces.shape[0]
        # Drawn on the CPU, as kornia does, so that a seed gives the same changes on every device.
        chosen = None if self.p == 1 else (torch.rand(number) < self.p).to(faces.device, non_blocking=True)
        # All images are changed and some results discarded: selecting images would make a GPU wait for their number.
        changed = self.change(faces, self._strengths(number, faces.device))
        return changed if chosen is None else torch.where(chosen.view(-1, 1, 1, 1), changed, faces)

    def _strengths(self, number: int, device: torch.device) -> float | Tensor:
        if not isinstance(self.strength, Sequence):
            return float(self.strength)
        low, high = map(float, self.strength)
        return (low + (high - low) * torch.rand(number)).to(device, non_blocking=True).view(-1, 1, 1, 1)


def blurred(faces: Tensor, sigma: float | Tensor, side: int) -> Tensor:
    """Blur (N, C, H, W) with a Gaussian kernel of `side` pixels; `sigma` is one number of pixels, or (N, 1, 1, 1)."""
    both = sigma.view(-1, 1).expand(-1, 2) if isinstance(sigma, Tensor) else (sigma, sigma)
    return gaussian_blur2d(faces, side, both).clamp(0, 1)


def noisy(faces: Tensor, std: float | Tensor) -> Tensor:
    """Add Gaussian noise of a standard deviation, one number or (N, 1, 1, 1), to (N, C, H, W) in [0, 1]."""
    # Drawn on the CPU like all other random numbers.
    noise = torch.randn(faces.shape).to(faces.device, non_blocking=True)
    return (faces + std * noise).clamp(0, 1)
