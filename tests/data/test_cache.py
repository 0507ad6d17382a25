import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fer_ablate.data import cache
from fer_ablate.data.cache import Origin, cached, file_origin
from fer_ablate.data.faces import Parsed, content_digest
from fer_ablate.errors import UserError

ORIGIN = Origin("drawn", "one")


FACES = np.full((5, 1, 4, 4), 3, np.uint8)
KNOWN = Parsed(
    np.arange(5), np.zeros(5, np.uint8), ("Training",), ("a", "b", "c", "d", "e"), tuple("vwxyz"), left_out={".txt": 2}
)


def parsed(write):
    write(FACES[:2])
    write(FACES[2:])
    return KNOWN


def never(_):
    raise AssertionError("parsed again")


def test_a_second_load_maps_the_stored_arrays(tmp_path):
    first = cached(tmp_path / "new" / "cache", ORIGIN, parsed)
    again = cached(tmp_path / "new" / "cache", ORIGIN, never)
    assert isinstance(again.faces, np.memmap)
    assert np.array_equal(again.faces, FACES)
    assert again.digest == first.digest == content_digest(FACES, KNOWN)
    assert (again.files, again.left_out) == (tuple("vwxyz"), {".txt": 2})


def test_another_origin_has_another_entry_but_equal_digest(tmp_path):
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
    def killed(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, ORIGIN, killed)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    # A limit on the size of files is met by a write as a full disk is, without a disk of its own.
    code = (
        "import resource, signal, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from fer_ablate.data.cache import Origin, cached\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "def read(write):\n"
        "    for _ in range(100): write(np.zeros((10, 1, 48, 48), np.uint8))\n"
        "cached(Path(sys.argv[1]), Origin('large', ''), read)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "UserError: data.cache_dir=" in done.stderr
    assert "Pass data.cache_dir=..., or set FER_ABLATE_CACHE to a folder with room." in done.stderr
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.long
def test_two_processes_on_a_cold_cache_read_once(tmp_path):
    code = (
        "import sys, time, numpy as np\n"
        "from pathlib import Path\n"
        "from fer_ablate.data.cache import Origin, cached\n"
        "from fer_ablate.data.faces import Parsed\n"
        "def read(write):\n"
        "    print('reads', flush=True); time.sleep(1)\n"
        "    write(np.zeros((2, 1, 4, 4), np.uint8))\n"
        "    return Parsed(np.zeros(2, np.int64), np.zeros(2, np.uint8), ('train',), ('a',))\n"
        "print(cached(Path(sys.argv[1]), Origin('shared', ''), read).digest)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = "".join(process.communicate(timeout=60)[0] for process in both).split()
    assert lines.count("reads") == 1
    assert len(lines) == 3
    assert len(set(lines)) == 2


def test_an_entry_without_permission_names_the_remedy(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("the superuser may read everything")
    cached(tmp_path, ORIGIN, parsed)
    (facts,) = tmp_path.glob("drawn-*/facts.json")
    facts.chmod(0)
    with pytest.raises(UserError, match="another user's and may not be read"):
        cached(tmp_path, ORIGIN, parsed)


def test_an_entry_of_an_earlier_version_is_rebuilt(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT - 1)
    cached(tmp_path, ORIGIN, parsed)
    monkeypatch.undo()
    cached(tmp_path, ORIGIN, parsed)
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 2


def test_an_impossible_cache_dir_names_the_key(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"data.cache_dir=.*Pass data.cache_dir=..., or set FER_ABLATE_CACHE"):
        cached(tmp_path / "file" / "cache", ORIGIN, parsed)


def test_the_digest_depends_on_all_content():
    others = [
        content_digest(np.full_like(FACES, 4), KNOWN),
        content_digest(FACES, replace(KNOWN, labels=KNOWN.labels[::-1].copy())),
        content_digest(FACES, replace(KNOWN, splits=("train",))),
        content_digest(FACES.reshape(5, 1, 2, 8), KNOWN),
    ]
    assert len({content_digest(FACES, KNOWN), *others}) == 5
    assert content_digest(FACES, replace(KNOWN, files=(), notes=("other",))) == content_digest(FACES, KNOWN)


def test_an_unreadable_source_is_not_the_caches_fault(tmp_path):
    def unreadable(_):
        raise PermissionError(13, "Permission denied", "fer2013.csv")

    with pytest.raises(PermissionError, match=r"fer2013\.csv"):
        cached(tmp_path, ORIGIN, unreadable)


def test_an_entry_says_what_it_holds(tmp_path):
    cached(tmp_path, ORIGIN, parsed)
    (facts,) = tmp_path.glob("drawn-*/facts.json")
    assert json.loads(facts.read_text())["splits"] == ["Training"]


def test_a_long_name_is_cut(tmp_path):
    origin = Origin("é" * 122 + "\udce9", "one")  # the longest name of a folder, with a byte that is not UTF-8
    assert cached(tmp_path, origin, parsed).digest == cached(tmp_path, origin, never).digest
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir() if path.is_dir()] == ["é" * 50]


def test_an_entry_without_refused_files_is_kept(tmp_path):
    def refused(write):
        return replace(parsed(write), left_out={cache.UNOPENED: 1})

    first = cached(tmp_path, ORIGIN, refused)
    assert cached(tmp_path, ORIGIN, parsed).left_out == KNOWN.left_out
    assert np.array_equal(first.faces, FACES)
    cached(tmp_path, ORIGIN, never)
