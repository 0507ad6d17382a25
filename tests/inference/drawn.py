"""Pictures with drawn faces that the Haar cascade finds, and a network that is known by heart."""

from dataclasses import dataclass

import cv2
import numpy as np

from fer_ablate.config.choices import Fit
from fer_ablate.config.schema import SyntheticConfig
from fer_ablate.data.sources.synthetic import draw_faces


def drawn(config):
    """Drawn faces (N, H, W), in the order of the set."""
    blocks = []
    draw_faces(config, blocks.append)
    return np.concatenate(blocks)[:, 0]


FACES = drawn(SyntheticConfig(train=7, val=1, test=1, pixel_noise=0.0))


def face(side, number=1):
    return cv2.resize(FACES[number], (side, side), interpolation=cv2.INTER_CUBIC)


def scene(x=60, y=20, side=200, width=320, height=240, number=1):
    """(height, width, 3) blue, green, red: a face on gray; the cascade finds it about 9/10 as wide."""
    picture = np.full((height, width), 100, np.uint8)
    picture[y : y + side, x : x + side] = face(side, number)
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)


def save_video(path, frames, fps=10.0):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v")), fps, (width, height)
    )
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


@dataclass(frozen=True)
class Brightness:
    """A scorer whose probability of `bright` is the mean gray level."""

    image_size: tuple[int, int] = (48, 48)
    channels: int = 1
    fit: Fit = Fit.pad
    classes: tuple[str, ...] = ("bright", "dark")

    def probabilities(self, faces_u8):
        bright = faces_u8.mean(axis=(1, 2, 3)) / 255
        return np.stack([bright, 1 - bright], axis=1).astype(np.float32)
