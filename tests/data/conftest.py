import os

import numpy as np
import pytest
from PIL import Image

from fer_ablate.config.choices import Roles, Source
from fer_ablate.config.schema import DataConfig
from fer_ablate.data.faces import FaceSet
from fer_ablate.data.load import load_faces
from fer_ablate.labels import EMOTIONS, USAGES


@pytest.fixture(scope="session")
def table_row():
    """Makes one line of a table; every pixel has the same value."""

    def make(emotion=0, usage="Training", count=2304, value="7"):
        return f"{emotion},{' '.join([value] * count)},{usage}"

    return make


@pytest.fixture
def table_of(tmp_path):
    """Writes a table of some lines and returns its path."""

    def write(*lines, header="emotion,pixels,Usage", name="fer2013.csv"):
        path = tmp_path / name
        path.write_text("\n".join([header, *lines]) + "\n")
        return path

    return write


@pytest.fixture(scope="session")
def collected():
    """Runs a reader, and returns its images as one array with their description."""

    def collect(read):
        blocks = []
        parsed = read(blocks.append)
        return np.concatenate(blocks), parsed

    return collect


@pytest.fixture
def folder_of(tmp_path):
    """Writes gray pictures into a folder, each with its own gray level, and returns the folder."""

    def write(*names, size=(8, 8), root="faces", mode="L"):
        for number, name in enumerate(names):
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shade = 10 + number
            Image.new(mode, (size[1], size[0]), shade if mode == "L" else (shade, 50, 200)).save(path)
        return tmp_path / root

    return write


@pytest.fixture
def set_of():
    """Makes a set of 2x2 images from the value of one pixel, the label and the split of each; equal values are copies."""

    def make(values, labels, splits, names=USAGES):
        faces = np.zeros((len(values), 1, 2, 2), np.uint8)
        faces[:, 0, 1, 1] = values
        usage = np.array([names.index(split) for split in splits], np.uint8)
        rows = np.arange(len(values))
        return FaceSet(faces, np.array(labels, np.int64), None, usage, tuple(names), EMOTIONS, rows, "0" * 64)

    return make


@pytest.fixture(scope="session")
def real_config(tmp_path_factory):
    """FER2013 itself, parsed once: in this process, or by an earlier one into the cache that FER_ABLATE_CACHE names."""
    path = os.environ.get("FER_ABLATE_DATA")
    if not path:
        pytest.skip("FER_ABLATE_DATA does not say where FER2013 is")
    cache_dir = os.environ.get("FER_ABLATE_CACHE") or str(tmp_path_factory.mktemp("cache"))
    config = DataConfig(source=Source.fer2013, path=path, cache_dir=cache_dir, roles=Roles.official)
    load_faces(config)
    return config
