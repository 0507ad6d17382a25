"""Checks whether heat maps depend on what the network learnt (Adebayo et al. 2018, arXiv:1810.03292).

A map that hardly changes when all weights are redrawn shows the image, not the network.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import nn

from fer_ablate.explain.attributions import Maps

SIMILAR = 0.5
"""Rank correlation above which two maps count as similar."""

SEED = 1810_03292
"""Seed of the redrawn weights: not one of the small numbers with which networks are trained, or they would begin with these."""


@dataclass(frozen=True)
class SanityCheck:
    """How similar the maps of trained and redrawn weights are.

    Args:
        correlation: Spearman's rank correlation, mean over the images; None if no image could be compared.
        images: number of images that were compared.
    """

    correlation: float | None
    images: int

    @property
    def verdict(self) -> str:
        """What the correlation says about a method on this network, in words."""
        if self.correlation is None:
            return "unknown: a map is empty in every pair"
        if self.correlation > SIMILAR:
            return "does not depend on the weights: do not trust it"
        return "depends on the weights"


def randomised(network: nn.Module, seed: int = SEED) -> nn.Module:
    """Copy a network to the CPU and redraw all its weights, as its layers draw them at first.

    Parameters of a layer that cannot redraw them come from a normal distribution with their own mean and spread.

    Args:
        network: is not changed.
        seed: seed of the drawing; the global generator is not changed.
    """
    fresh = copy.deepcopy(network).cpu()  # on the CPU the same seed draws the same weights on every machine
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in fresh.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for parameter in module.parameters(recurse=False):
                spread = parameter.std() if parameter.numel() > 1 else parameter.abs()
                drawn = torch.randn(parameter.shape).to(parameter)
                parameter.copy_(parameter.mean() + spread * drawn)
    return fresh.eval()


def rank_correlations(first: Maps, second: Maps) -> NDArray[np.float64]:
    """Compute Spearman's rank correlation of the positive parts of two maps of each image.

    Args:
        first: (n, H, W).
        second: (n, H, W), maps of the same images.

    Returns:
        (m,) with m <= n; a pair is left out if one of its maps has the same value everywhere, such as an empty map.
    """
    # Only positive weight is drawn and counted anywhere, so only it is compared.
    one, other = (rankdata(np.maximum(maps, 0).reshape(len(maps), -1), axis=1) for maps in (first, second))
    one, other = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (one, other))
    norms = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    found: NDArray[np.float64] = (one * other).sum(axis=1)[norms > 0] / norms[norms > 0]
    return found
