"""Draws gray faces from numbers: distance fields, antialiased, a whole block of faces at a time.

Only +, -, *, / and square roots are used: IEEE 754 defines their rounding, so that a seed gives the same bytes on every
machine, which exp, sin and matrix products would not.

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
    """Position of a head in the picture.

    Args:
        x: x of its centre; 1 is half the width of the picture.
        y: y of its centre.
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
    """Shape and tones of a face; lengths in face coordinates, tones from 0 (black) to 1 (white).

    Args:
        head_width: half the width of the head.
        jaw: how much the chin narrows.
        eye_distance: distance of the centre of an eye from the middle of the face.
        eye_y: y of the eyes.
        eye_width: half the width of an eye.
        eye_open: half the height of an open eye.
        brow_gap: distance from the eye to a resting brow.
        brow_inner: how far the inner end of the brows is raised.
        brow_outer: how far the outer end of the brows is raised.
        brow_thickness: half the thickness of a brow.
        nose_length: length of the nose below the eyes.
        mouth_y: y of the mouth.
        mouth_width: half the width of the mouth.
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
        background: tone of the background in its middle.
        background_x: increase of that tone to the right.
        background_y: increase of that tone downwards.
        light_x: how much brighter the right of the face is than its middle.
        light_y: how much brighter the bottom of the face is than its middle.
        contrast: factor of all differences to middle gray.
        brightness: tone added to all pixels.
    """

    background: Value
    background_x: Value
    background_y: Value
    light_x: Value
    light_y: Value
    contrast: Value
    brightness: Value


class _Canvas:
    """Tones of a block of faces, painted from the back to the front."""

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
        """Paint the pixels inside a shape, where the distance to its edge is negative.

        Args:
            distance: distance to the edge in face coordinates.
            tone: tone of the shape.
            opacity: from 0 (invisible) to 1.
        """
        cover = np.clip(np.float32(0.5) - distance / self.edge, 0, 1) * opacity
        self.tones += cover * (tone - self.tones)


def draw(pose: Pose, features: Features, scene: Scene, side: int) -> Field:
    """Draw a block of faces: (B, side, side) tones, which are not clipped to [0, 1]."""
    canvas = _Canvas(pose, side)
    canvas.tones += scene.background + scene.background_x * canvas.picture_x + scene.background_y * canvas.picture_y
    _head(canvas, features, scene)
    # The face is curved: when it is turned to a side, its features move to that side and get closer to each other.
    canvas.x = (canvas.x - pose.yaw) * (1 + np.abs(pose.yaw))
    _nose(canvas, features)
    _mouth(canvas, features)
    for side_of_face in (np.float32(-1), np.float32(1)):
        _eye(canvas, features, side_of_face)
    return (canvas.tones - np.float32(0.5)) * scene.contrast + np.float32(0.5) + scene.brightness


def _ellipse(canvas: _Canvas, x: Number, y: Number, width: Number, height: Number) -> Field:
    """Distance to an ellipse, exact on its axes and a good approximation near its edge."""
    across, down = (canvas.x - x) / width, (canvas.y - y) / height
    distance: Field = (np.sqrt(across * across + down * down) - 1) * np.minimum(width, height)
    return distance


def _stroke(canvas: _Canvas, x: Field, middle: Field | Value, half_width: Number, thickness: Number) -> Field:
    """Distance to a line along y = `middle`, from -half_width to half_width of a local x; `thickness` is half of it."""
    distance: Field = np.maximum(np.abs(canvas.y - middle) - thickness, np.abs(x) - half_width)
    return distance


def _head(canvas: _Canvas, face: Features, scene: Scene) -> None:
    """Paint the hair behind the head, the head with its light, and the hair over the forehead."""
    canvas.paint(_ellipse(canvas, 0, -0.1, face.head_width + 0.09, 1), face.hair)
    narrowed = face.head_width * (1 - face.jaw * np.maximum(canvas.y, 0))
    across, down = canvas.x / narrowed, canvas.y / np.float32(0.97)
    head = (np.sqrt(across * across + down * down) - 1) * face.head_width
    rim = across * across + down * down
    canvas.paint(head, face.skin + scene.light_x * canvas.x + scene.light_y * canvas.y - np.float32(0.12) * rim)
    canvas.paint(np.maximum(head, canvas.y - face.hairline - np.float32(0.2) * canvas.x * canvas.x), face.hair)


def _nose(canvas: _Canvas, face: Features) -> None:
    """Paint the shadow of the tip, and the folds that a sneer makes beside the nose."""
    tip = face.eye_y + face.nose_length
    shade = face.skin * np.float32(0.65)
    arc: Field = np.float32(3) * canvas.x * canvas.x
    canvas.paint(_stroke(canvas, canvas.x, tip - arc, 0.13, 0.022), shade)
    side: Field = np.abs(canvas.x)
    falling: Field = tip - np.float32(0.28) + np.float32(1.1) * side
    canvas.paint(_stroke(canvas, side - np.float32(0.26), falling, 0.1, 0.03), shade, face.sneer)
    wrinkle: Field = face.eye_y + np.float32(0.1) + arc
    canvas.paint(_stroke(canvas, canvas.x, wrinkle, 0.09, 0.02), shade, face.sneer)


def _mouth(canvas: _Canvas, face: Features) -> None:
    """Paint the lips around an opening with teeth in its upper part; the middle is lower than raised corners."""
    x = canvas.x
    bend = 1 - (x / face.mouth_width) * (x / face.mouth_width)  # 1 in the middle, 0 in the corners
    line = face.mouth_y + face.mouth_corner * (bend - np.float32(0.5))
    upper = line - bend * (face.mouth_open * np.float32(0.4) + face.sneer * np.float32(0.05))
    lower = line + bend * face.mouth_open * np.float32(0.6)
    beside = np.abs(x) - face.mouth_width
    lips = np.maximum(np.maximum(upper - canvas.y, canvas.y - lower) - np.float32(0.035), beside)
    inside = np.maximum(np.maximum(upper - canvas.y, canvas.y - lower) + np.float32(0.01), beside)
    canvas.paint(_stroke(canvas, x, face.mouth_y - np.float32(0.14), 0.22, 0.04), face.hair, face.moustache)
    canvas.paint(lips, face.skin * np.float32(0.55))
    canvas.paint(inside, 0.08, np.minimum(face.mouth_open * 12, 1))
    teeth = np.maximum(inside, canvas.y - upper - np.float32(0.07))
    canvas.paint(teeth, 0.85, np.clip(face.mouth_open * 8 - np.float32(0.4), 0, 1))


def _eye(canvas: _Canvas, face: Features, side_of_face: np.float32) -> None:
    """Paint white, iris and lids of one eye, its brow, and one rim of the glasses."""
    x = canvas.x * side_of_face - face.eye_distance  # negative towards the nose
    bend = 1 - (x / face.eye_width) * (x / face.eye_width)
    upper, lower = face.eye_y - face.eye_open * bend, face.eye_y + face.eye_open * np.float32(0.7) * bend
    inside = np.maximum(np.maximum(upper - canvas.y, canvas.y - lower), np.abs(x) - face.eye_width)
    canvas.paint(inside, 0.9)
    down = canvas.y - face.eye_y
    iris = np.sqrt(x * x + down * down) - np.float32(0.08)
    canvas.paint(np.maximum(inside, iris), 0.1)
    canvas.paint(_stroke(canvas, x, upper, face.eye_width, 0.022), face.skin * np.float32(0.35))
    canvas.paint(_stroke(canvas, x, lower, face.eye_width, 0.01), face.skin * np.float32(0.7))
    along = x / (face.eye_width * np.float32(2.6)) + np.float32(0.5)  # 0 at the inner end of the brow, 1 at the outer
    arch = np.float32(0.16) * along * (1 - along)
    brow = face.eye_y - face.brow_gap - face.brow_inner * (1 - along) - face.brow_outer * along - arch
    canvas.paint(_stroke(canvas, x, brow, face.eye_width * np.float32(1.25), face.brow_thickness), face.hair)
    rim = np.abs(_ellipse(canvas, side_of_face * face.eye_distance, face.eye_y, 0.26, 0.2)) - np.float32(0.02)
    canvas.paint(rim, 0.1, face.glasses)
