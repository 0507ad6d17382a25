"""Draws faces with the seven expressions of FER2013 from a seed, in the splits of FER2013.

An expression moves brows, lids and mouth together, on a face whose resting shape, pose, light and background vary
by about as much. No single part determines the class: a network has to see the parts and their positions.
"""

import numpy as np

from fer_ablate.config.schema import SyntheticConfig
from fer_ablate.data.faces import Bytes, Parsed, Progress, Rows, Write
from fer_ablate.data.sources.drawing import Features, Field, Pose, Scene, Value, draw
from fer_ablate.labels import EMOTIONS, SIDE, USAGES

DRAWING = 1
"""Version of the drawing, part of the name of a cached set; to be raised whenever a seed gives other images."""

_BLOCK = 128  # faces drawn at once; more would not fit into the processor's cache
_FREQUENCIES = (0.14, 0.09, 0.14, 0.19, 0.16, 0.12, 0.16)
"""Share of each class in every split: slightly uneven, as in FER2013, where disgust is the rarest and happy the most frequent."""

# Changes that a full expression makes to a resting face, in face coordinates and in the order of EMOTIONS. Which parts move
# and in which direction follows the prototypes of Ekman and Friesen (Facial Action Coding System, 1978).
_MOVES: dict[str, tuple[float, ...]] = {
    #               angry  disgust  fear  happy    sad  surprise neutral
    "brow_inner": (-0.110, -0.060, 0.110, 0.000, 0.100, 0.100, 0.0),
    "brow_outer": (0.040, -0.040, 0.000, 0.000, -0.060, 0.110, 0.0),
    "eye_open": (-0.020, -0.045, 0.050, -0.025, -0.030, 0.050, 0.0),
    "mouth_corner": (-0.080, -0.060, -0.060, 0.160, -0.130, 0.000, 0.0),
    "mouth_open": (0.020, 0.040, 0.100, 0.060, 0.000, 0.200, 0.0),
    "mouth_width": (-0.040, -0.020, 0.060, 0.080, -0.030, -0.090, 0.0),
    "sneer": (0.0, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0),
}
_WEAKEST = 0.65  # share of a full expression that the faintest one shows


def draw_faces(config: SyntheticConfig, write: Write, progress: Progress | None = None) -> Parsed:
    """Draw all splits.

    Every split is drawn from its own stream of random numbers, and the wrong labels from another: the images of a split depend
    neither on the sizes of the others nor on the noise of the labels.

    Args:
        config: sizes, noise and seed.
        write: called with blocks of faces (n, 1, 48, 48).
        progress: called now and then with the fraction drawn, from 0 to 1.
    """
    sizes = (config.train, config.val, config.test)
    labels = np.empty(sum(sizes), np.int64)
    done = 0
    for split, size in enumerate(sizes):
        random = _stream(config.seed, split)
        shown = _classes(size, random)
        labels[done : done + size] = shown
        for start in range(0, size, _BLOCK):
            block = shown[start : start + _BLOCK]
            write(_exposed(_portraits(block, random), config.pixel_noise, random)[:, None])
            done += len(block)
            if progress is not None:
                progress(done / len(labels))
    labels[: config.train] = _mistaken(labels[: config.train], config.label_noise, _stream(config.seed, len(sizes)))
    usage = np.repeat(np.arange(len(USAGES), dtype=np.uint8), sizes)
    return Parsed(labels, usage, USAGES, EMOTIONS)


def _stream(seed: int, number: int) -> np.random.Generator:
    """Random numbers of one stream; the generator is named explicitly because NumPy may change its default."""
    return np.random.Generator(np.random.PCG64([seed, number]))


def _classes(size: int, random: np.random.Generator) -> Rows:
    """Shuffled classes, as near to the frequencies as whole numbers of images allow."""
    ends = np.round(np.cumsum(_FREQUENCIES) * size).astype(np.int64)
    numbers = np.diff(ends, prepend=0)
    return random.permutation(np.repeat(np.arange(len(EMOTIONS)), numbers))


def _mistaken(labels: Rows, fraction: float, random: np.random.Generator) -> Rows:
    """Replace a fraction of the labels by another class, drawn uniformly."""
    wrong = random.permutation(len(labels))[: round(fraction * len(labels))]
    mistaken = labels.copy()
    mistaken[wrong] = (labels[wrong] + random.integers(1, len(EMOTIONS), len(wrong))) % len(EMOTIONS)
    return mistaken


def _portraits(classes: Rows, random: np.random.Generator) -> Field:
    """Draw (B, H, W) tones of faces that show the given classes."""

    def between(low: float, high: float) -> Value:
        return np.float32(low) + np.float32(high - low) * random.random((len(classes), 1, 1), dtype=np.float32)

    def around(middle: float, spread: float) -> Value:
        """Draw from a triangular distribution within twice the spread: a sum of two uniform numbers needs no logarithm."""
        return np.float32(middle) + np.float32(spread) * (between(-1, 1) + between(-1, 1))

    def sometimes(chance: float, low: float, high: float) -> Value:
        return (between(0, 1) < chance) * between(low, high)

    strength = between(_WEAKEST, 1)
    moves = {part: strength * np.array(amounts, np.float32)[classes][:, None, None] for part, amounts in _MOVES.items()}
    features = Features(
        head_width=around(0.75, 0.05),
        jaw=between(0.1, 0.4),
        eye_distance=around(0.34, 0.02),
        eye_y=around(-0.17, 0.03),
        eye_width=around(0.165, 0.012),
        eye_open=np.maximum(around(0.085, 0.012) + moves["eye_open"], 0.015),
        brow_gap=around(0.2, 0.025),
        brow_inner=around(0, 0.02) + moves["brow_inner"],
        brow_outer=around(0, 0.02) + moves["brow_outer"],
        brow_thickness=between(0.025, 0.05),
        nose_length=around(0.36, 0.03),
        mouth_y=around(0.48, 0.03),
        mouth_width=around(0.29, 0.03) + moves["mouth_width"],
        mouth_corner=around(0, 0.025) + moves["mouth_corner"],
        # Any face may be talking, so that an open mouth alone does not give the class away.
        mouth_open=sometimes(0.35, 0.02, 0.14) + moves["mouth_open"] * sometimes(0.85, 0.6, 1.3),
        sneer=moves["sneer"] + sometimes(0.15, 0.1, 0.4),
        skin=between(0.5, 0.85),
        hair=between(0.05, 0.3),
        hairline=between(-0.95, -0.55),
        glasses=sometimes(0.15, 0.4, 0.9),
        moustache=sometimes(0.12, 0.4, 0.9),
    )
    pose = Pose(
        x=around(0, 0.075),
        y=around(0.02, 0.075),
        scale=between(0.88, 1.12),
        half_turn=around(0, 0.055),
        shear=around(0, 0.04),
        yaw=around(0, 0.06),
    )
    scene = Scene(
        background=between(0.05, 0.95),
        background_x=around(0, 0.15),
        background_y=around(0, 0.15),
        light_x=around(0, 0.15),
        light_y=around(0, 0.1),
        contrast=between(0.75, 1.15),
        brightness=around(0, 0.08),
    )
    return draw(pose, features, scene, SIDE)


def _exposed(tones: Field, pixel_noise: float, random: np.random.Generator) -> Bytes:
    """Turn tones into gray levels with the noise of a sensor."""
    # The sum of four uniform bytes is nearly normal, with the standard deviation `spread`.
    noise = random.integers(0, 256, (4, *tones.shape), dtype=np.uint8)
    total = noise[0].astype(np.int16) + noise[1] + noise[2] + noise[3]
    spread = np.float32(np.sqrt(4 * (256**2 - 1) / 12))
    levels = tones * 255 + (total - 510) * np.float32(pixel_noise) / spread
    grays: Bytes = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return grays
