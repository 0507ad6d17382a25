"""From stored bytes to a network's input, on whole batches and on whatever device they lie."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fer_ablate.config.schema import Config, DataConfig
from fer_ablate.data.augment import build_augment, input_size
from fer_ablate.data.views import centre_crop
from fer_ablate.errors import Fault


class Preprocess(nn.Module):
    """uint8 faces to float32 input: scale to [0, 1], augment or crop, normalise, adapt the channels.

    Args:
        augment: changes batches in training mode; must return images of `size`, as many as it gets or a multiple of that.
        size: side of the input in pixels; in evaluation mode larger images are cut to their centre.
        mean: subtracted from pixels in [0, 1]; a number, or one for each of `channels`.
        std: then divided by; likewise.
        channels: of the network, 1 or 3: a gray image is repeated, a colour image averaged.
        channels_last: memory format of the result.
    """

    def __init__(
        self,
        augment: nn.Module,
        *,
        size: int,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        channels: int,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.augment = augment
        self.size = size
        self._register("mean", mean)
        self._register("std", std)
        self.channels = channels
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, faces_u8: Tensor) -> Tensor:
        """Turn (N, C, H, W) uint8 into (N, channels, size, size) float32; 10 N in training mode with a ten_crop."""
        faces = faces_u8.float() / 255
        return self.normalise(self.augment(faces) if self.training else centre_crop(faces, self.size))

    def normalise(self, faces: Tensor) -> Tensor:
        """Do what is left when faces have their size, such as test-time views: (N, C, H, W) uint8, or float in [0, 1]."""
        if faces.dtype == torch.uint8:
            faces = faces.float() / 255
        if self.channels == 1 and faces.shape[1] == 3:
            faces = faces.mean(1, keepdim=True)
        # Numbers of several channels turn a gray image into as many by broadcasting.
        faces = (faces - self._placed("mean", faces.device)) / self._placed("std", faces.device)
        if self.channels == 3 and faces.shape[1] == 1:
            faces = faces.expand(-1, 3, -1, -1)
        return faces.contiguous(memory_format=self.memory_format)

    def _register(self, name: str, value: float | Sequence[float]) -> None:
        """Keep one number as it is: a division by a tensor may round otherwise, and results would change."""
        if isinstance(value, Sequence):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        else:
            setattr(self, name, float(value))

    def _placed(self, name: str, device: torch.device) -> float | Tensor:
        """The number, or the numbers where the faces are: whoever only normalises need not move this module."""
        value: float | Tensor = getattr(self, name)
        return value.to(device) if isinstance(value, Tensor) else value


def check_normalisation(data: DataConfig, channels: int) -> list[Fault]:
    """List which of `data.mean` and `data.std` have another length than the network has channels.

    That they are numbers is seen in `load.check`, which knows no network.
    """
    remedy = "Give one number, or one for each channel of the network."
    return [
        Fault(f"data.{name}", f"{value}: {len(value)} numbers, but model.in_channels is {channels}", remedy)
        for name, value in (("mean", data.mean), ("std", data.std))
        if isinstance(value, list | tuple) and len(value) not in (0, channels)
    ]


def build_preprocess(config: Config, image_size: int) -> Preprocess:
    """Build what stands before the network of a run.

    Args:
        config: the run.
        image_size: side of the stored images in pixels.
    """
    return Preprocess(
        build_augment(config.augment),
        size=input_size(config.augment, image_size),
        mean=config.data.mean,
        std=config.data.std,
        channels=config.model.in_channels,
        channels_last=config.trainer.channels_last,
    )
