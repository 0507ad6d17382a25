import bz2
import gzip
import io
import lzma
import os
import tarfile
import time
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fer_ablate.data.sources import archives
from fer_ablate.data.sources.archives import opened, table_files
from fer_ablate.data.sources.table import looks_like_table, read_table
from fer_ablate.errors import UserError

from ..cases import cases

TABLE = b"emotion,pixels,Usage\n3,1 22 3 255,Training\n5,5 6 70 8,PrivateTest\n"
FACES = [[[[1, 22], [3, 255]]], [[[5, 6], [70, 8]]]]


def packed_tar(members, mode="w"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def packed_zip(members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


@pytest.fixture
def file_of(tmp_path):
    """Writes bytes to a file and returns its path."""

    def write(content, name="fer2013.csv"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def read(path):
    """Faces of the table, and its notes."""
    blocks = []
    parsed = read_table(path, blocks.append)
    return [face for block in blocks for face in block.tolist()], parsed


def unpacked(path):
    with opened(path) as table:
        return table.read(-1)


IN_FOLDER = {"./fer2013/README": b"hello", "./fer2013/fer2013.csv": TABLE}
OTHER_NAME = {"faces/list.txt": b"hello", "faces/mine.csv": TABLE, "faces/z.txt": b"hello"}


@pytest.mark.long
@pytest.mark.parametrize(
    "content",
    [
        TABLE,
        gzip.compress(TABLE),
        lzma.compress(TABLE),
        lzma.compress(TABLE, lzma.FORMAT_ALONE),
        bz2.compress(TABLE),
        gzip.compress(TABLE[:30]) + gzip.compress(TABLE[30:]),
        packed_tar(IN_FOLDER),
        *(packed_tar(IN_FOLDER, f"w:{packing}") for packing in ("gz", "xz", "bz2")),
        packed_tar(OTHER_NAME),
        packed_tar(OTHER_NAME, "w:gz"),
        packed_tar({"fer2013.csv.gz": gzip.compress(TABLE)}, "w:xz"),
        packed_tar({"inner.csv": packed_tar(OTHER_NAME)}, "w:gz"),
        *(packed_zip(IN_FOLDER, method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)),
        packed_zip(OTHER_NAME, zipfile.ZIP_BZIP2),
        packed_zip({"fer2013.csv.gz": gzip.compress(TABLE)}),
        packed_zip({"faces\\mine.csv": TABLE}),
        packed_zip({"a.csv": b"a,b\n", "icml_face_data.csv": TABLE, "test.csv": b"pixels\n"}),
        packed_zip({"mine.csv": TABLE, "__MACOSX/._mine.csv": b"\0\5", ".hidden.csv": b"", ".cache/b.csv": b""}),
    ],
    ids=[
        *("plain", "gzip", "xz", "lzma", "bzip2", "gzip in two parts", "tar", "tar.gz", "tar.xz", "tar.bz2"),
        *("tar with another name", "tar.gz with another name", "csv.gz in tar.xz", "tar in tar.gz"),
        *("zip stored", "zip deflated", "zip lzma", "zip with another name", "csv.gz in zip", "zip of Windows"),
        *("known name among others", "files that a system adds"),
    ],
)
@pytest.mark.parametrize("name", ["fer2013.csv", "archive.zip"])
def test_first_bytes_tell_how_a_table_is_packed(file_of, content, name):
    path = file_of(content, name)
    assert unpacked(path) == TABLE
    assert looks_like_table(path)
    faces, parsed = read(path)
    assert faces == FACES
    assert parsed.labels.tolist() == [3, 5]


def test_a_note_names_unusual_files_of_archives(file_of):
    assert read(file_of(packed_zip(IN_FOLDER)))[1].notes[:-1] == ()
    assert "The table was found in the archive as faces/mine.csv." in read(file_of(packed_tar(OTHER_NAME)))[1].notes


def sheet():
    return packed_zip({"[Content_Types].xml": b"<x/>", "xl/workbook.xml": b"<x/>"})


@pytest.mark.long
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (gzip.compress(b""), "is empty"),
        (
            b"<!DOCTYPE html><html>404 not found</html>",
            "is an HTML page, expected a table as csv. It is often the page of a log-in",
        ),
        (b"\n <html>", "is an HTML page"),
        (b"<?xml version='1.0'?>", "is an XML document"),
        (b'{"cells": []}', "is JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "the pointer of a file kept in Git LFS.*git lfs pull"),
        (b"SQLite format 3\0" + bytes(84), "is an SQLite database, .* Save its rows as csv"),
        (b"PAR1" + bytes(20), "is a Parquet file"),
        (b"\x93NUMPY\1\0", "is a NumPy array"),
        (b"\x80\4\x95", "is a Python pickle.* could run code"),
        (b"%PDF-1.7", "is a PDF document"),
        (b"\x89PNG\r\n\x1a\n", "is a PNG picture.* data=folder"),
        (gzip.compress(b"\xff\xd8\xff\xe0"), "is a JPEG picture"),
        (b"7z\xbc\xaf\x27\x1c", "is a 7z archive, which is not read here.* Unpack it"),
        (b"\x28\xb5\x2f\xfd", "packed by Zstandard"),
        (bytes(2000), "is nothing but zero bytes"),
        (bytes(range(1, 9)), r"is binary data .*it begins with 01 02 03"),
        (sheet(), "It is an Excel workbook or another Office document: save the table as csv"),
        (packed_zip({}), r"holds neither fer2013\.csv nor icml_face_data\.csv nor another csv. It is empty"),
        (packed_zip({"readme.txt": b"hello"}), r"nor another csv. It holds readme\.txt. Unpack it"),
        (packed_tar({"readme.txt": b"hello"}), r"nor another csv. It holds readme\.txt. Unpack it"),
        (packed_zip({"train/happy/1.jpg": b"", "train/sad/2.png": b""}), "It holds 2 pictures: unpack it, .* data=folder"),
        (packed_zip({"a.csv": b"", "b.csv": b""}), r"holds 2 tables \(a.csv, b.csv\)"),
        (packed_tar({"a.csv": b"", "b/c.csv": b""}, "w:gz"), r"holds 2 tables \(a.csv, b/c.csv\)"),
        (packed_zip({"a/fer2013.csv": b"", "b/fer2013.csv": b""}), r"holds 2 tables \(a/fer2013.csv, b/fer2013.csv\)"),
        (packed_zip({"a\nb.txt": b""}), r"It holds a\?b\.txt"),
        (gzip.compress(packed_zip({"fer2013.csv": TABLE})), "holds a zip archive inside another archive. Unpack it"),
    ],
    ids=[
        *("empty", "empty gzip", "HTML", "HTML after blanks", "XML", "JSON", "Git LFS", "SQLite", "Parquet", "NumPy", "pickle"),
        *("PDF", "PNG", "JPEG in gzip", "7z", "Zstandard", "zero bytes", "binary", "workbook", "empty zip", "zip without table"),
        *("tar without table", "zip of pictures", "two tables", "two tables in tar.gz", "known name twice", "line end in a name"),
        "zip in gzip",
    ],
)
def test_a_file_without_table_gives_one_line(file_of, content, message):
    path = file_of(content)
    with pytest.raises(UserError, match=message) as caught:
        unpacked(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
    assert "damaged" not in str(caught.value)
    assert not looks_like_table(path)


LONG = b"emotion,pixels,Usage\n" + b"".join(b"%d,%s,Training\n" % (n % 7, os.urandom(4000).hex().encode()) for n in range(40))


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(LONG)[:-2000],
        lzma.compress(LONG)[:-2000],
        bz2.compress(LONG)[:-2000],
        packed_tar({"fer2013.csv": LONG})[:100_000],
        packed_tar({"fer2013.csv": LONG}, "w:gz")[:-20_000],
        packed_zip({"fer2013.csv": LONG})[:-2000],
        gzip.compress(LONG)[:5000] + bytes(3000) + gzip.compress(LONG)[8000:],
        bz2.compress(LONG)[:500] + b"x" * 300 + bz2.compress(LONG)[800:],
        packed_zip({"fer2013.csv": LONG}, zipfile.ZIP_STORED).replace(b"pixels", b"Pixels"),
        gzip.compress(LONG) + b"more",
    ],
    ids=[
        *("gzip cut short", "xz cut short", "bzip2 cut short", "tar cut short", "tar.gz cut short", "zip cut short"),
        *("gzip with a hole", "bzip2 with a hole", "zip with another checksum", "gzip with a tail"),
    ],
)
def test_a_broken_archive_is_called_damaged(file_of, content):
    path = file_of(content)
    with pytest.raises(UserError, match=rf"{path.name} is damaged or cut short \(.*\). Copy or download it again: {path}"):
        unpacked(path)


def with_flag(content, offset_local, offset_central, value):
    """A zip of one file with two bytes changed in both its headers."""
    central = content.index(b"PK\1\2")
    for at in (offset_local, central + offset_central):
        content = content[:at] + value.to_bytes(2, "little") + content[at + 2 :]
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_flag(packed_zip({"fer2013.csv": TABLE}), 6, 8, 1), "fer2013.csv in .* is encrypted. Unpack it with its password"),
        (
            with_flag(packed_zip({"fer2013.csv": TABLE}), 8, 10, 9),
            r"packed by method 9 \(deflate64\), which is not read here. Unpack",
        ),
        (with_flag(packed_zip({"fer2013.csv": TABLE}), 8, 10, 77), r"packed by method 77 \(unknown\), which is not read here"),
        (with_flag(packed_zip({"fer2013.csv": TABLE}), 4, 6, 90), "is packed in a way that is not read here"),
    ],
    ids=["encrypted", "a known method", "an unknown method", "a later version"],
)
def test_an_unreadable_zip_says_why(file_of, content, message):
    with pytest.raises(UserError, match=message):
        unpacked(file_of(content))


HEADER = b"emotion,pixels,Usage\n"
ROWS = (b"0," + b"7 " * 2303 + b"7,Training\n") * 227  # about a megabyte


def bomb(compress, megabytes):
    return compress(HEADER) + compress(ROWS) * megabytes


def zip_of(megabytes):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("fer2013.csv", "w") as table:
        for block in [HEADER, *[ROWS] * megabytes]:
            table.write(block)
    return out.getvalue()


def lying_zip_of(megabytes):
    """A zip whose directory says that the file in it is small."""
    content = zip_of(megabytes)
    central = content.index(b"PK\1\2")
    return content[: central + 24] + (1000).to_bytes(4, "little") + content[central + 28 :]


def sparse_tar_of(megabytes):
    """A tar archive of a file that is one hole (a GNU sparse file)."""
    info = tarfile.TarInfo("fer2013.csv")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % (megabytes << 20)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(1024)


# Packed in the test that reads it: every process that collects the tests would pack them all.
BOMBS = {
    "gzip": lambda: bomb(gzip.compress, 70),
    "xz": lambda: bomb(lzma.compress, 70),
    "bzip2": lambda: bomb(bz2.compress, 70),
    "zip": lambda: zip_of(70),
    "gzip in tar": lambda: packed_tar({"fer2013.csv": bomb(gzip.compress, 70)}),
}
FALSE_SIZES = {"zip with a false size": lambda: lying_zip_of(80), "tar with a hole of gigabytes": lambda: sparse_tar_of(3000)}


@pytest.mark.long
@pytest.mark.parametrize("packed", cases(BOMBS, slow=["bzip2", "gzip in tar"]))
def test_a_zip_bomb_is_refused_within_seconds(file_of, packed):
    path = file_of(packed())
    start = time.process_time()
    with pytest.raises(UserError, match=f"{path} unpacks to more than 100 times its own size, as a zip bomb does"):
        unpacked(path)
    assert time.process_time() - start < 8  # 0.1 to 1.4 on an idle core


@pytest.mark.long
@pytest.mark.parametrize("packed", FALSE_SIZES.values(), ids=FALSE_SIZES)
def test_an_archive_with_a_false_size_is_refused(file_of, packed):
    with pytest.raises(UserError):
        read(file_of(packed()))


def test_a_tar_header_read_for_minutes_is_refused(file_of):
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 20_000_000
    path = file_of(header.tobuf() + b"1" * 20_000_000)
    with pytest.raises(UserError, match=r"packed in a way that is not read here \(a tar header of 20,000,000 bytes\)"):
        unpacked(path)


def test_a_table_packed_over_and_over_is_refused(file_of):
    content = TABLE
    for _ in range(5):
        content = gzip.compress(content)
    with pytest.raises(UserError, match="is packed more than 4 times over"):
        unpacked(file_of(content))


def test_a_tar_of_pictures_is_not_searched_through(file_of, monkeypatch):
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 100)
    path = file_of(packed_tar({f"{n}.png": b"" for n in range(200)}))
    with pytest.raises(
        UserError, match=r"no fer2013\.csv or icml_face_data\.csv among its first 101 files. It holds 101 pictures"
    ):
        unpacked(path)


def test_a_pipe_and_a_missing_file_are_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, message in {"pipe": "is a pipe or device", "missing": "No such file", ".": "is a folder"}.items():
        with pytest.raises(UserError, match=message):
            unpacked(tmp_path / name)


def test_later_failures_are_not_blamed_on_the_archive(file_of):
    def full(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        read_table(file_of(gzip.compress(TABLE)), full)


def test_tables_with_known_names_come_first(tmp_path):
    names = ["z.csv", "A.CSV", "b.csv.gz", "archive.zip", "fer2013.tar.gz", "Fer2013.csv", "icml_face_data.csv.xz", "all.tgz"]
    for name in [*names, ".hidden.csv", "notes.txt", "picture.png"]:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "lost.csv").symlink_to(tmp_path / "nowhere")
    assert [path.name for path in table_files(tmp_path)] == [
        *("Fer2013.csv", "icml_face_data.csv.xz", "fer2013.tar.gz"),
        *("A.CSV", "z.csv", "b.csv.gz", "all.tgz", "archive.zip"),
    ]
    assert table_files(tmp_path / "missing") == []


SOUND = [packed_zip(IN_FOLDER), packed_tar(IN_FOLDER, "w:gz"), packed_tar(IN_FOLDER), lzma.compress(TABLE), bz2.compress(TABLE)]


@pytest.mark.long
@settings(max_examples=60, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(SOUND), st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=4), st.floats(0, 1)
)
def test_any_bytes_are_read_or_plainly_refused(tmp_path, content, changes, cut):
    for share, noise in changes:
        place = int(share * len(content))
        content = content[:place] + noise + content[place + len(noise) :]
    path = tmp_path / "fer2013.csv"
    path.write_bytes(content[: int(len(content) * cut)] if cut < 0.5 else content)
    looks_like_table(path)
    try:
        read_table(path, lambda faces: None)
    except UserError as error:
        message = str(error)
    else:
        message = ""
    assert message == "" or message.isprintable()
