import json
import os

import numpy as np
import pytest

from fer_ablate.data import cache
from fer_ablate.data.cache import Origin, cached, file_origin
from fer_ablate.data.faces import Parsed
from fer_ablate.errors import UserError

ORIGIN = Origin("drawn", "one")


def parsed(value=3):
    faces = np.full((5, 1, 4, 4), value, np.uint8)
    return Parsed(faces, np.arange(5), np.zeros(5, np.uint8), ("Training",), ("a", "b", "c", "d", "e"))


def never():
    raise AssertionError("parsed again")


def test_a_second_load_maps_the_stored_arrays_instead_of_parsing(tmp_path):
    first = cached(tmp_path / "new" / "cache", ORIGIN, parsed)
    again = cached(tmp_path / "new" / "cache", ORIGIN, never)
    assert isinstance(again.faces, np.memmap)
    assert np.array_equal(again.faces, first.faces)
    assert again.digest == first.digest == parsed().digest()


def test_another_origin_has_an_entry_of_its_own_but_the_same_digest(tmp_path):
    other = cached(tmp_path, Origin("drawn", "two"), parsed)
    assert other.digest == cached(tmp_path, ORIGIN, parsed).digest
    assert len(list(tmp_path.glob("drawn-*[!k]"))) == 2


def test_a_file_that_changed_is_parsed_again(tmp_path):
    path = tmp_path / "fer2013.csv"
    path.write_text("a")
    before = file_origin(path)
    os.utime(path, ns=(1, 1))
    assert file_origin(path) != before


@pytest.mark.parametrize("name", ["faces.npy", "labels.npy", "facts.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_a_damaged_entry_is_made_again(tmp_path, name, damage):
    digest = cached(tmp_path, ORIGIN, parsed).digest
    (file,) = tmp_path.glob(f"*/{name}")
    content = bytearray(file.read_bytes())
    content[-20] ^= 1
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    assert cached(tmp_path, ORIGIN, parsed).digest == digest
    assert cached(tmp_path, ORIGIN, never).digest == digest


def test_a_killed_parse_leaves_no_entry(tmp_path):
    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, ORIGIN, killed)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_a_full_disk_names_the_key_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.np, "save", full)
    with pytest.raises(UserError, match=r"data.cache_dir=.*the disk is full"):
        cached(tmp_path, ORIGIN, parsed)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_cache_dir_that_cannot_be_made_names_the_key(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"data.cache_dir=.*Pass data.cache_dir=..., or set FER_ABLATE_CACHE"):
        cached(tmp_path / "file" / "cache", ORIGIN, parsed)


def test_the_digest_depends_on_every_part_of_the_content():
    base = parsed()
    others = [
        parsed(4),
        Parsed(base.faces, base.labels[::-1].copy(), base.usage, base.splits, base.classes),
        Parsed(base.faces, base.labels, base.usage, ("train",), base.classes),
        Parsed(base.faces.reshape(5, 1, 2, 8), base.labels, base.usage, base.splits, base.classes),
    ]
    assert len({base.digest(), *(other.digest() for other in others)}) == 5


def test_a_source_that_cannot_be_read_is_not_blamed_on_the_cache(tmp_path):
    def unreadable():
        raise PermissionError(13, "Permission denied", "fer2013.csv")

    with pytest.raises(PermissionError, match=r"fer2013\.csv"):
        cached(tmp_path, ORIGIN, unreadable)


def test_an_entry_says_what_it_holds(tmp_path):
    cached(tmp_path, ORIGIN, parsed)
    (facts,) = tmp_path.glob("drawn-*/facts.json")
    assert json.loads(facts.read_text())["splits"] == ["Training"]
