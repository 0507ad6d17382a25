"""A few kills, a full disk and a clock that is set back; `nox -s chaos` has a hundred."""

import importlib.util
import random

import pytest

from .contents import contents, differences
from .hardship import FAKETIME, clock_set_back, full_disk, may_mount, used_bytes
from .moments import Place
from .trials import killed_study, unbroken

pytestmark = pytest.mark.slow

SEED = 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study that nobody touched."""
    place = Place(tmp_path_factory.mktemp("whole")).make()
    unbroken(place, "machine")
    return place


@pytest.mark.parametrize("launcher", ["machine", "joblib", "ray"])
def test_a_killed_study_equals_an_unbroken_one(whole, tmp_path, launcher):
    if launcher == "ray" and importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    trial = killed_study(tmp_path / "killed", launcher, SEED, 3, contents(whole))
    assert trial.problems == []
    assert trial.kills


@pytest.mark.skipif(not may_mount(), reason="only root may mount a small disk")
def test_a_study_goes_on_after_a_full_disk(whole, tmp_path):
    needed = used_bytes(whole.runs) + used_bytes(whole.cache)
    assert full_disk(tmp_path / "disk", "machine", SEED, needed, contents(whole)).problems == []


@pytest.mark.skipif(FAKETIME is None, reason="needs Debian's libfaketime")
def test_a_clock_set_back_changes_no_table(whole, tmp_path):
    assert clock_set_back(tmp_path / "clock", "machine", SEED, contents(whole)).problems == []


def test_the_comparison_sees_every_difference(whole):
    """What is compared would be of no use if it could not fail."""
    expected = contents(whole)
    for part in random.Random(SEED).sample(sorted(expected), 5):
        assert differences(expected, {name: value for name, value in expected.items() if name != part})
        assert differences(expected, {**expected, part: None})
    assert differences(expected, contents(whole)) == []
