"""Batches gathered straight from memory, without worker processes and without copying single images.

The images of a step and their order depend only on seed and epoch, not on the number of devices.
Letters: N images of the set, n of the role, b of a batch, C channels, H W pixels, K emotions.
"""

import warnings
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fer_ablate.errors import UserError

ORDER, LABELS, AUGMENT = range(3)
"""Streams of random numbers of an epoch: order of the images, drawn labels, and augmentation with dropout."""


def epoch_seed(seed: int, epoch: int, stream: int, rank: int = 0) -> int:
    """Mix a run's seed, an epoch, a stream and a rank into a 64-bit seed; neighbouring values give unrelated seeds."""
    # Python's modulo maps a negative seed to a valid entropy.
    words = np.random.SeedSequence([seed % 2**64, epoch, stream, rank]).generate_state(2, np.uint32)
    return int(words[0]) << 32 | int(words[1])


def _generator(seed: int, epoch: int, stream: int) -> torch.Generator:
    return torch.Generator().manual_seed(epoch_seed(seed, epoch, stream))


def as_tensor(array: NDArray[Any]) -> Tensor:
    """Wrap an array as a tensor that shares its memory, also a read-only memory map. Never write to the result."""
    with warnings.catch_warnings():
        # The warning can be ignored: gathering a batch makes a new tensor, and nothing writes to the faces.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


class EpochSampler:
    """Decides which positions of a role each step of an epoch takes.

    A batch is global: rank r takes its positions r, r + world_size, ... With `shuffle`, for training, all ranks get equally many
    images in every step: the last batch is cut to a multiple of the ranks, and dropped if a rank would get fewer than the 2
    images that batch normalisation needs. Without `shuffle` every position occurs exactly once over all ranks, in order; a rank
    that gets nothing of the last batch has one step fewer.

    Args:
        num_images: n.
        batch_size: images per step over all ranks.
        seed: seed of the run.
        shuffle: shuffle the positions.
        reshuffle: shuffle them anew in every epoch; otherwise all epochs have the order of the first.
        rank: number of this process.
        world_size: number of processes.

    Raises:
        UserError: `batch_size` is not a multiple of the ranks, or there are too few images for one step.
    """

    def __init__(
        self,
        num_images: int,
        batch_size: int,
        seed: int = 0,
        *,
        shuffle: bool,
        reshuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if shuffle and batch_size % world_size:
            raise UserError(
                f"trainer.batch_size = {batch_size} is the number of images over all devices and must be a multiple of "
                f"trainer.devices = {world_size}. Take {batch_size // world_size * world_size or world_size}."
            )
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.reshuffle = reshuffle
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.num_used = num_images
        if shuffle:
            full, tail = divmod(num_images, batch_size)
            kept = tail // world_size
            # Batches of one image per device are kept if they were configured.
            self.num_used = full * batch_size + (kept * world_size if kept >= min(2, batch_size // world_size) else 0)
        if shuffle and not self.num_used:
            raise UserError(
                f"{num_images} training images are too few for one step on {world_size} device(s): each needs 2. "
                "Raise data.train_fraction or use fewer devices."
            )

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; Lightning calls this."""
        self.epoch = epoch

    def order(self) -> Tensor:
        """Return the positions of the epoch over all ranks, in their order: (num_used,) int64."""
        if not self.shuffle:
            return torch.arange(self.num_images)
        epoch = self.epoch if self.reshuffle else 0
        return torch.randperm(self.num_images, generator=_generator(self.seed, epoch, ORDER))[: self.num_used]

    def __iter__(self) -> Iterator[Tensor]:
        order = self.order()
        for start in range(0, self.num_used, self.batch_size):
            own = order[start : start + self.batch_size][self.rank :: self.world_size]
            if len(own):
                yield own

    def __len__(self) -> int:
        full, tail = divmod(self.num_used, self.batch_size)
        return full * (self.rank < self.batch_size) + (tail > self.rank)


class Batches:
    """Batches of faces and targets, iterated once per epoch; used in the place of Lightning's DataLoader.

    Args:
        faces: (N, C, H, W) uint8, all images; shared, never copied on the CPU.
        rows: (n,) int64, rows of the role.
        targets: (N,) int64 classes or (N, K) float32 distributions of all images.
        sampler: sampler of the n positions.
        draw_labels: replace each distribution by one class, drawn from it anew in every epoch (`labels: probability`
            of FER+, Barsoum et al. 2016).
    """

    def __init__(self, faces: Tensor, rows: Tensor, targets: Tensor, sampler: EpochSampler, *, draw_labels: bool = False) -> None:
        assert len(faces) == len(targets)
        assert len(rows) == sampler.num_images
        assert not draw_labels or targets.ndim == 2
        self.sampler = sampler
        self.draw_labels = draw_labels
        self._faces = faces
        self._rows = rows
        self._targets = targets[rows]
        self._inputs: Tensor | None = None
        self._channels_last = False

    batch_sampler = None  # Lightning reads this attribute of everything that has a sampler

    @property
    def batch_size(self) -> int:
        """Images per step over all ranks."""
        return self.sampler.batch_size

    def to(self, device: torch.device) -> Self:
        """Move the role's images to a device, if it has room for twice their size; returns itself."""
        if device.type == "cpu" or self._faces.device == device:
            return self
        size = len(self._rows) * self._faces[0].numel()
        if device.type == "cuda" and torch.cuda.mem_get_info(device)[0] < 2 * size:
            return self
        # Only the role's own images are moved, so that all roles together hold the set once.
        self._faces = self._faces[self._rows].to(device)
        self._rows = torch.arange(len(self._rows), device=device)
        self._targets = self._targets.to(device)
        return self

    def in_order(self) -> Iterator[Tensor]:
        """Yield the faces (b, C, H, W) uint8 of the whole role in the order of its rows."""
        for rows in torch.split(self._rows, self.batch_size):
            yield self._faces.index_select(0, rows)

    def use_inputs(self, inputs: Tensor | None, *, channels_last: bool = False) -> None:
        """Yield computed inputs from the next epoch on, in place of faces.

        Args:
            inputs: (n, ...) one for every row of the role, in the order of `in_order`; None: faces again.
            channels_last: `inputs` are maps (n, H, W, C), which are yielded as (b, C, H, W) in this memory format.
        """
        self._inputs, self._channels_last = inputs, channels_last

    def _epoch_targets(self) -> Tensor:
        if not self.draw_labels:
            return self._targets
        # Drawn on the CPU, where a seed gives the same labels on every machine, and for all ranks at once.
        generator = _generator(self.sampler.seed, self.sampler.epoch, LABELS)
        drawn = torch.multinomial(self._targets.cpu(), 1, generator=generator).squeeze(1)
        return drawn.to(self._targets.device)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield faces (b, C, H, W) uint8, or the computed inputs of such, and targets (b,) or (b, K)."""
        steps = list(self.sampler)
        if not steps:
            return
        # Rows and targets are put in order once an epoch, so that a step gathers nothing but its faces.
        order, sizes = torch.cat(steps).to(self._rows.device), [len(positions) for positions in steps]
        targets = self._epoch_targets().index_select(0, order)
        source, places = (self._faces, self._rows[order]) if self._inputs is None else (self._inputs, order)
        for rows, own in zip(torch.split(places, sizes), torch.split(targets, sizes), strict=True):
            faces = source.index_select(0, rows)
            yield faces.permute(0, 3, 1, 2) if self._channels_last else faces, own

    def __len__(self) -> int:
        return len(self.sampler)
