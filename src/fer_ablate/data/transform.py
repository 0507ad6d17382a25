"""Turns whole batches of stored bytes into a network's input, on the device where they are."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fer_ablate.config.schema import Config
from fer_ablate.data.augment import build_augment
from fer_ablate.data.checks import network_size
from fer_ablate.data.prepare import build_prepare
from fer_ablate.data.views import centre_crop
from fer_ablate.sizes import Size


class Preprocess(nn.Module):
    """Turn uint8 faces into float32 input: prepare, scale to [0, 1], augment or crop, normalise, adapt the channels.

    Args:
        augment: changes batches in training mode; returns images of `size`, as many as it gets or a multiple of that.
        size: height and width of the input in pixels; in evaluation mode larger images are cut to their centre.
        mean: subtracted from pixels in [0, 1]; one number, or one for each of `channels`.
        std: divisor after that; one number, or one for each of `channels`.
        channels: channels of the network, 1 or 3: gray images are repeated, colour images averaged.
        channels_last: memory format of the result.
        prepare: changes images in [0, 1] before all other steps; None: they are not prepared.
    """

    def __init__(
        self,
        augment: nn.Module,
        *,
        size: Size,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        channels: int,
        channels_last: bool = False,
        prepare: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.augment = augment
        self.prepare = prepare
        self.size = size
        self._register("mean", mean)
        self._register("std", std)
        self.channels = channels
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, faces_u8: Tensor) -> Tensor:
        """Turn (N, C, H, W) uint8 into (N, channels, *size) float32, or 10 N of them in training mode with a ten_crop."""
        # Augmentation only in training mode: tests and exports see the centre crop.
        faces = _scaled(self.prepared(faces_u8))
        return self.normalise(self.augment(faces) if self.training else centre_crop(faces, self.size))

    def prepared(self, faces_u8: Tensor) -> Tensor:
        """Apply the preparation, which comes before augmentation and test-time views.

        Args:
            faces_u8: (N, C, H, W) stored faces.

        Returns:
            (N, C, *prepared size) float32 in [0, 1]; without preparation `faces_u8` itself, which takes less memory.
        """
        return faces_u8 if self.prepare is None else self.prepare(_scaled(faces_u8))

    def normalise(self, faces: Tensor) -> Tensor:
        """Normalise faces that already have the size of the input, such as test-time views, and adapt their channels.

        Args:
            faces: (N, C, H, W) uint8, or float in [0, 1].
        """
        faces = _scaled(faces)
        if self.channels == 1 and faces.shape[1] == 3:
            faces = faces.mean(1, keepdim=True)
        # With one mean per channel a gray image gets as many channels by broadcasting.
        faces = (faces - self._placed("mean", faces.device)).div_(self._placed("std", faces.device))
        if self.channels == 3 and faces.shape[1] == 1:
            faces = faces.expand(-1, 3, -1, -1)
        return faces.contiguous(memory_format=self.memory_format)

    def _register(self, name: str, value: float | Sequence[float]) -> None:
        """Store a single number as a float: dividing by a tensor may round differently and would change results."""
        if isinstance(value, Sequence):
            # Not persistent: the numbers are in the config, and checkpoints hold only the network's weights.
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        else:
            setattr(self, name, float(value))

    def _placed(self, name: str, device: torch.device) -> float | Tensor:
        """The number, or the tensor of numbers on the device of the faces, so that this module need not be moved there."""
        value: float | Tensor = getattr(self, name)
        return value.to(device) if isinstance(value, Tensor) else value


def _scaled(faces: Tensor) -> Tensor:
    """Convert bytes to floats in [0, 1]; floats are returned unchanged."""
    # In place, as the division in `normalise`: the floats are new, and allocating them again takes as long as dividing.
    return faces.float().div_(255) if faces.dtype == torch.uint8 else faces


def build_preprocess(config: Config, image_size: Size) -> Preprocess:
    """Build the preprocessing of a run.

    Args:
        config: config of the run.
        image_size: height and width of the stored images in pixels.
    """
    return Preprocess(
        build_augment(config.augment, config.plugins),
        size=network_size(config, image_size),
        mean=config.data.mean,
        std=config.data.std,
        channels=config.model.in_channels,
        channels_last=config.trainer.channels_last,
        prepare=build_prepare(config.data.prepare, config.plugins),
    )
