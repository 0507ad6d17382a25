"""Transformed copies of images, made once on the CPU. Letters: N images, M copies, C channels, H W pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fer_ablate.config.schema import AugmentConfig
from fer_ablate.data.augment import build_augment
from fer_ablate.data.faces import Bytes, Rows

_CHUNK = 2048  # images transformed together; another number would give other copies for the same seed


def write_copies(target: Bytes, originals: Bytes, rows: Rows, steps: Sequence[Mapping[str, Any]], seed: int) -> None:
    """Fill an array with transformed copies; the state of torch's random numbers is restored afterwards.

    Args:
        target: (M, C, H, W) to fill.
        originals: (N, C, H, W).
        rows: (M,) row of the original of every copy.
        steps: steps without faults, as in `augment.steps`.
        seed: seed of the transforms, from 0 to 2**63 - 1.
    """
    change = build_augment(AugmentConfig(steps=[dict(step) for step in steps]))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would reseed the GPUs too, which are not restored
        for start in range(0, len(rows), _CHUNK):
            chosen = rows[start : start + _CHUNK]
            copies = change(torch.from_numpy(originals[chosen]).float() / 255)
            target[start : start + len(chosen)] = (copies * 255).round().clamp(0, 255).to(torch.uint8).numpy()
