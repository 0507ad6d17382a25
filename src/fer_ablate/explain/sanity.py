"""Whether heat maps depend on what was learnt: Adebayo et al. 2018 (arXiv:1810.03292).

A map that stays alike when all weights are redrawn shows the image, not the network.
"""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import nn

from fer_ablate.explain.attributions import Maps

ALIKE = 0.5
"""Rank correlation above which maps count as alike."""

SEED = 0
"""Of the redrawn weights."""


def randomised(network: nn.Module, seed: int = SEED) -> nn.Module:
    """A copy on the CPU with all weights redrawn, as its layers draw them at first.

    Parameters of a layer that cannot do so are drawn from a normal distribution with their own mean and spread.

    Args:
        network: stays as it is.
        seed: of the drawing; the global generator stays as it is, too.
    """
    fresh = copy.deepcopy(network).cpu()  # where the same seed draws the same weights on every machine
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
    """Spearman's rank correlation of the positive parts of two maps of each image.

    Args:
        first: (n, H, W).
        second: (n, H, W), of the same images.

    Returns:
        (m,) with m <= n: a pair of which one map is the same everywhere, such as an empty one, has none.
    """
    one, other = (rankdata(np.maximum(maps, 0).reshape(len(maps), -1), axis=1) for maps in (first, second))
    one, other = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (one, other))
    norms = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    found: NDArray[np.float64] = (one * other).sum(axis=1)[norms > 0] / norms[norms > 0]
    return found


def verdict(correlation: float | None) -> str:
    """What a mean rank correlation, None if there is none, says about a method on this network."""
    if correlation is None:
        return "cannot be told: a map is empty in every pair"
    if correlation > ALIKE:
        return "does not depend on the weights: do not trust it"
    return "depends on the weights"
