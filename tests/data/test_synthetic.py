from dataclasses import dataclass, replace

import numpy as np
import pytest

from fer_ablate.config.schema import SyntheticConfig
from fer_ablate.data.faces import Parsed, content_digest
from fer_ablate.data.sources.synthetic import draw_faces
from fer_ablate.labels import EMOTIONS, USAGES

DIGEST = "9c045230cd60a7915aa9d404a072f833a4801b0ec0e2a80f1d96c63bc87d4782"  # of SMALL; new whenever DRAWING is raised
SMALL = SyntheticConfig(train=140, val=70, test=70, label_noise=0.1, pixel_noise=6.0, seed=3)


@dataclass(frozen=True)
class Drawn:
    faces: np.ndarray
    parsed: Parsed


def draw(config):
    blocks = []
    parsed = draw_faces(config, blocks.append)
    return Drawn(np.concatenate(blocks), parsed)


@pytest.fixture(scope="module")
def drawn():
    return draw(SMALL)


def test_splits_have_their_sizes_and_every_class(drawn):
    assert drawn.faces.shape == (280, 1, 48, 48)
    assert np.bincount(drawn.parsed.usage).tolist() == [140, 70, 70]
    assert (drawn.parsed.splits, drawn.parsed.classes) == (USAGES, EMOTIONS)
    assert all(len(np.unique(drawn.parsed.labels[drawn.parsed.usage == split])) == 7 for split in range(3))


def test_a_seed_gives_equal_bytes_everywhere(drawn):
    assert content_digest(drawn.faces, drawn.parsed) == DIGEST


def test_another_seed_gives_other_faces(drawn):
    assert not np.array_equal(draw(replace(SMALL, seed=4)).faces, drawn.faces)


def test_test_faces_do_not_depend_on_train_size(drawn):
    fewer = draw(replace(SMALL, train=20))
    assert np.array_equal(fewer.faces[fewer.parsed.usage == 2], drawn.faces[drawn.parsed.usage == 2])


def test_label_noise_hits_its_share_of_training_labels(drawn):
    clean = draw(replace(SMALL, label_noise=0.0))
    wrong = drawn.parsed.labels != clean.parsed.labels
    assert np.bincount(drawn.parsed.usage[wrong], minlength=3).tolist() == [14, 0, 0]
    assert np.array_equal(drawn.faces, clean.faces)


def test_pixel_noise_has_the_standard_deviation_asked_for(drawn):
    clean = draw(replace(SMALL, pixel_noise=0.0)).faces.astype(float)
    difference = drawn.faces - clean
    unclipped = (clean > 40) & (clean < 215)
    assert difference[unclipped].std() == pytest.approx(6.0, rel=0.02)
    assert difference[unclipped].mean() == pytest.approx(0.0, abs=0.05)


def test_faces_are_neither_blank_nor_copies(drawn):
    assert len(np.unique(drawn.faces.reshape(280, -1), axis=0)) == 280
    assert drawn.faces.std(axis=(1, 2, 3)).min() > 8
