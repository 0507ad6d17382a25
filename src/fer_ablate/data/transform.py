"""From stored bytes to a network's input, on whole batches and on whatever device they lie."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fer_ablate.config.schema import Config, DataConfig
from fer_ablate.data.augment import build_augment, input_size
from fer_ablate.data.prepare import build_prepare, prepared_size
from fer_ablate.data.views import centre_crop
from fer_ablate.errors import Fault
from fer_ablate.sizes import Size


class Preprocess(nn.Module):
    """uint8 faces to float32 input: prepare, scale to [0, 1], augment or crop, normalise, adapt the channels.

    Args:
        augment: changes batches in training mode; must return images of `size`, as many as it gets or a multiple of that.
        size: height and width of the input in pixels; in evaluation mode larger images are cut to their centre.
        mean: subtracted from pixels in [0, 1]; a number, or one for each of `channels`.
        std: then divided by; likewise.
        channels: of the network, 1 or 3: a gray image is repeated, a colour image averaged.
        channels_last: memory format of the result.
        prepare: changes every batch before anything else, in [0, 1]; None: nothing is changed.
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
        """Turn (N, C, H, W) uint8 into (N, channels, *size) float32; 10 N in training mode with a ten_crop."""
        faces = _scaled(self.prepared(faces_u8))
        return self.normalise(self.augment(faces) if self.training else centre_crop(faces, self.size))

    def prepared(self, faces_u8: Tensor) -> Tensor:
        """Do what comes before augmentation and before test-time views are cut.

        Args:
            faces_u8: (N, C, H, W) stored faces.

        Returns:
            (N, C, *prepared size) float32 in [0, 1]; without preparation the very tensor given, which is smaller as bytes.
        """
        return faces_u8 if self.prepare is None else self.prepare(_scaled(faces_u8))

    def normalise(self, faces: Tensor) -> Tensor:
        """Do what is left when prepared faces have their size, such as test-time views.

        Args:
            faces: (N, C, H, W) uint8, or float in [0, 1].
        """
        faces = _scaled(faces)
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


def _scaled(faces: Tensor) -> Tensor:
    """Bytes as floats in [0, 1]; floats are already."""
    return faces.float() / 255 if faces.dtype == torch.uint8 else faces


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


def network_size(config: Config, image_size: Size) -> Size:
    """Height and width in pixels of what the network of a run is trained on, from those of the stored images."""
    return input_size(config.augment, prepared_size(config.data.prepare, image_size))


def build_preprocess(config: Config, image_size: Size) -> Preprocess:
    """Build what stands before the network of a run.

    Args:
        config: the run.
        image_size: of the stored images, height and width in pixels.
    """
    return Preprocess(
        build_augment(config.augment),
        size=network_size(config, image_size),
        mean=config.data.mean,
        std=config.data.std,
        channels=config.model.in_channels,
        channels_last=config.trainer.channels_last,
        prepare=build_prepare(config.data.prepare),
    )
