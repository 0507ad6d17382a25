"""Images that were sent: the same set as on the machine that sent them, kept once by the digest of the pixels."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from fer_ablate.data.faces import FaceSet
from fer_ablate.errors import UserError
from fer_ablate.execution.received import Received, description, has_pixels, is_elsewhere, keep_pixels, pixel_digest
from fer_ablate.training.start import Start


@pytest.fixture
def faces():
    pixels = np.arange(5 * 4, dtype=np.uint8).reshape(5, 1, 2, 2)
    return FaceSet(
        pixels,
        labels=np.array([0, 1, 0, -1, 1]),
        targets=np.array([[1, 0], [0, 1], [0.5, 0.5], [0, 0], [0.25, 0.75]], np.float32),
        usage=np.array([0, 0, 1, 1, 2], np.uint8),
        splits=("Training", "PublicTest", "PrivateTest"),
        classes=("happy", "sad"),
        rows=np.array([0, 1, 2, 4]),
        digest="d" * 64,
        notes=("One image has no label.",),
        files=("a.png", "b\udcff.png", "c.png", "d.png", "e.png"),
        left_out={".txt": 3},
    )


def received(faces, tmp_path, start=None):
    digest = pixel_digest(faces.faces)
    keep_pixels(tmp_path / "cache", digest, lambda: [faces.faces[:2], faces.faces[2:]])
    kept = Received(tmp_path / "received")
    kept.write(tmp_path / "cache", digest, description(faces), start)
    return kept


def test_the_set_arrives_as_it_was(faces, tmp_path):
    found = received(faces, tmp_path).faces()
    for field in fields(FaceSet):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(faces, field.name), err_msg=field.name)
    assert isinstance(found.faces, np.memmap)


def test_pixels_are_kept_once(faces, tmp_path):
    received(faces, tmp_path)
    merged = replace(faces, labels=np.zeros(5, np.int64), classes=("face",))
    assert pixel_digest(merged.faces) == pixel_digest(faces.faces)
    assert has_pixels(tmp_path / "cache", pixel_digest(merged.faces))
    keep_pixels(tmp_path / "cache", pixel_digest(faces.faces), lambda: pytest.fail("sent twice"))


def test_other_pixels_are_refused(faces, tmp_path):
    with pytest.raises(UserError, match="not those that were sent"):
        keep_pixels(tmp_path / "cache", pixel_digest(faces.faces), lambda: [faces.faces + 1])


def test_images_that_have_gone_are_named(faces, tmp_path):
    kept = received(faces, tmp_path)
    for folder in (tmp_path / "cache").glob("received-*[0-9a-f]"):
        (folder / "faces.npy").unlink()
    with pytest.raises(UserError, match="have gone from"):
        kept.faces()


def test_weights_to_begin_with_have_their_identity(faces, tmp_path):
    start = received(faces, tmp_path, (Start(Path(), "key", ("a", "b")), np.frombuffer(b"weights", np.uint8))).start()
    assert (start.identity, start.classes) == ("key", ("a", "b"))
    assert start.path.read_bytes() == b"weights"
    assert received(faces, tmp_path).start() is None


@pytest.mark.parametrize(
    ("address", "elsewhere"),
    [
        ("sqlite:///runs/mlflow.db", True),
        ("sqlite+pysqlite:////a/b.db", True),
        ("file:///runs/mlruns", True),
        ("runs/mlruns", True),
        ("http://mlflow.example.org:5000", False),
        ("postgresql+psycopg2://host/search", False),
    ],
)
def test_files_cannot_be_reached_from_elsewhere(address, elsewhere):
    assert is_elsewhere(address) is elsewhere
