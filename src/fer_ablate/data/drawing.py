"""Draws gray faces from numbers: distance fields, antialiased, a whole block of faces at a time.

Only +, -, *, / and square roots are used, which IEEE 754 rounds alike everywhere, so that a seed gives the same bytes
on every machine; exp, sin and matrix products do not.

Letters: B faces of a block, H W pixels. A `Field` has one value per pixel, (B, H, W); a `Value` one per face, (B, 1, 1).
Face coordinates: x to the right, y down, the chin at y = 1, the head about 0.8 to either side.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Value = NDArray[np.float32]
Number = Value | float


@dataclass(frozen=True)
class Pose:
    """Where a head is in the picture.

    Args:
        x: of its centre; 1 is half the picture.
        y: of its centre.
        scale: size of the head.
        half_turn: tangent of half the angle it is tilted by, clockwise.
        shear: leaning of its vertical axis.
        yaw: how far eyes, nose and mouth are turned to one side.
    """

    x: Value
    y: Value
    scale: Value
    half_turn: Value
    shear: Value
    yaw: Value


@dataclass(frozen=True)
class Features:
    """What a face looks like; lengths in face coordinates, tones from 0 (black) to 1.

    Args:
        head_width: half of it.
        jaw: how far the chin narrows.
        eye_distance: of the centre of an eye from the middle.
        eye_y: height of the eyes.
        eye_width: half of it.
        eye_open: half the height of an open eye.
        brow_gap: from the eye to a resting brow.
        brow_inner: how far the inner end of the brows is raised.
        brow_outer: how far the outer end is raised.
        brow_thickness: half of it.
        nose_length: below the eyes.
        mouth_y: height of the mouth.
        mouth_width: half of it.
        mouth_corner: how far the corners are raised above the middle.
        mouth_open: height of the opening.
        sneer: from 0 to 1, how far the upper lip is drawn up, with folds beside the nose.
        skin: tone of the skin.
        hair: tone of hair and brows.
        hairline: y below which no hair falls.
        glasses: from 0 (none) to 1, how dark the frame is.
        moustache: from 0 to 1.
    """

    head_width: Value
    jaw: Value
    eye_distance: Value
    eye_y: Value
    eye_width: Value
    eye_open: Value
    brow_gap: Value
    brow_inner: Value
    brow_outer: Value
    brow_thickness: Value
    nose_length: Value
    mouth_y: Value
    mouth_width: Value
    mouth_corner: Value
    mouth_open: Value
    sneer: Value
    skin: Value
    hair: Value
    hairline: Value
    glasses: Value
    moustache: Value


@dataclass(frozen=True)
class Scene:
    """Light and background; tones from 0 to 1.

    Args:
        background: tone at its middle.
        background_x: slope of the background's tone.
        background_y: slope of it downwards.
        light_x: how much brighter the right of the face is than its middle.
        light_y: how much brighter its bottom is.
        contrast: around middle gray.
        brightness: added to all.
    """

    background: Value
    background_x: Value
    background_y: Value
    light_x: Value
    light_y: Value
    contrast: Value
    brightness: Value


class _Canvas:
    """Tones of a block of faces, painted over from the back to the front."""

    def __init__(self, pose: Pose, side: int) -> None:
        across = ((np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side / 2) - 1)[None, None, :]
        down = across.reshape(1, side, 1)
        tangent = pose.half_turn
        cosine, sine = (1 - tangent * tangent) / (1 + tangent * tangent), 2 * tangent / (1 + tangent * tangent)
        x, y = (across - pose.x) / pose.scale, (down - pose.y) / pose.scale
        self.picture_x, self.picture_y = across, down
        self.y: Field = cosine * y - sine * x
        self.x: Field = cosine * x + sine * y + pose.shear * self.y
        self.edge: Value = np.float32(2 / side) / pose.scale  # a pixel, in face coordinates
        self.tones: Field = np.zeros_like(self.x)

    def paint(self, distance: Field, tone: Number | Field, opacity: Number = 1.0) -> None:
        """Lay a tone over all pixels inside a shape, that is where its distance is negative."""
        cover = np.clip(np.float32(0.5) - distance / self.edge, 0, 1) * opacity
        self.tones += cover * (tone - self.tones)


def draw(pose: Pose, features: Features, scene: Scene, side: int) -> Field:
    """Draw a block of faces: (B, side, side) tones, mostly from 0 to 1 and not clipped."""
    canvas = _Canvas(pose, side)
    canvas.tones += scene.background + scene.background_x * canvas.picture_x + scene.background_y * canvas.picture_y
    light = scene.light_x * canvas.x + scene.light_y * canvas.y
    _head(canvas, features, light)
    # The features sit on a curved face: turned to a side, they move and stand closer together.
    canvas.x = (canvas.x - pose.yaw) * (1 + np.abs(pose.yaw))
    _nose(canvas, features)
    _mouth(canvas, features)
    for side_of_face in (-1.0, 1.0):
        _eye(canvas, features, side_of_face)
    canvas.paint(_ellipse(canvas, 0, -1, 2, 1 + features.hairline), features.hair, _inside_head(canvas, features))
    return (canvas.tones - np.float32(0.5)) * scene.contrast + np.float32(0.5) + scene.brightness


def _ellipse(canvas: _Canvas, x: Number, y: Number, width: Number, height: Number) -> Field:
    """Distance to an ellipse, exact at its axes and near enough at its edge elsewhere."""
    across, down = (canvas.x - x) / width, (canvas.y - y) / height
    return (np.sqrt(across * across + down * down) - 1) * np.minimum(width, height)


def _stroke(canvas: _Canvas, x: Field, middle: Field, half_width: Number, thickness: Number) -> Field:
    """Distance to a line of some thickness along y = `middle`, from -half_width to half_width of a local x."""
    return np.maximum(np.abs(canvas.y - middle) - thickness, np.abs(x) - half_width)
