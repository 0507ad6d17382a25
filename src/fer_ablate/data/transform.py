"""From stored bytes to a network's input, on whole batches and on whatever device they lie."""

import torch
from torch import Tensor, nn

from fer_ablate.config.schema import Config
from fer_ablate.data.augment import build_augment, input_size
from fer_ablate.data.views import centre_crop


class Preprocess(nn.Module):
    """uint8 faces to float32 input: scale to [0, 1], augment or crop, normalise, adapt the channels.

    Args:
        augment: changes batches in training mode; must return images of `size`.
        size: side of the input in pixels; in evaluation mode larger images are cut to their centre.
        mean: subtracted from pixels in [0, 1].
        std: then divided by.
        channels: of the network, 1 or 3: a gray image is repeated, a colour image averaged.
        channels_last: memory format of the result.
    """

    def __init__(
        self, augment: nn.Module, *, size: int, mean: float, std: float, channels: int, channels_last: bool = False
    ) -> None:
        super().__init__()
        self.augment = augment
        self.size = size
        self.mean = mean
        self.std = std
        self.channels = channels
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, faces_u8: Tensor) -> Tensor:
        """Turn (N, C, H, W) uint8 into (N, channels, size, size) float32."""
        faces = faces_u8.float() / 255
        return self.normalise(self.augment(faces) if self.training else centre_crop(faces, self.size))

    def normalise(self, faces: Tensor) -> Tensor:
        """Do what is left when faces have their size, such as test-time views: (N, C, H, W) uint8, or float in [0, 1]."""
        if faces.dtype == torch.uint8:
            faces = faces.float() / 255
        if self.channels == 1 and faces.shape[1] == 3:
            faces = faces.mean(1, keepdim=True)
        faces = (faces - self.mean) / self.std
        if self.channels == 3 and faces.shape[1] == 1:
            faces = faces.expand(-1, 3, -1, -1)
        return faces.contiguous(memory_format=self.memory_format)


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
