import gzip
import lzma
import tarfile
import zipfile

import numpy as np
import pytest

from fer_ablate.data import table
from fer_ablate.data.table import read_table
from fer_ablate.errors import UserError


def random_lines(count, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 2304))
    lines = [
        f"{row % 7},{' '.join(map(str, face))},{('Training', 'PublicTest', 'PrivateTest')[row % 3]}"
        for row, face in enumerate(pixels)
    ]
    return lines, pixels.reshape(count, 1, 48, 48)


def test_pixels_labels_and_splits_are_those_of_the_table(table_of):
    lines, pixels = random_lines(20)
    parsed = read_table(table_of(*lines))
    assert np.array_equal(parsed.faces, pixels)
    assert parsed.labels.tolist() == [row % 7 for row in range(20)]
    assert [parsed.splits[index] for index in parsed.usage[:3]] == ["Training", "PublicTest", "PrivateTest"]


def test_rows_across_the_edges_of_read_chunks_stay_whole(table_of, monkeypatch):
    lines, pixels = random_lines(7)
    monkeypatch.setattr(table, "_CHUNK", 10_007)
    assert np.array_equal(read_table(table_of(*lines)).faces, pixels)


def test_kaggle_copy_with_leading_blanks_and_another_order_reads_the_same(table_of, tmp_path):
    lines, _ = random_lines(4)
    kaggle = [",".join([line.split(",")[0], line.split(",")[2], line.split(",")[1]]) for line in lines]
    original = read_table(table_of(*lines))
    copy = read_table(table_of(*kaggle, header="emotion, Usage, pixels", name="icml_face_data.csv"))
    assert copy.digest() == original.digest()


@pytest.mark.parametrize("ending", [".gz", ".xz", ".tar.gz", ".zip"])
def test_packed_tables_have_the_digest_of_the_plain_one(table_of, tmp_path, ending):
    plain = table_of(*random_lines(3)[0])
    packed = tmp_path / f"fer2013{ending}"
    if ending == ".tar.gz":
        with tarfile.open(packed, "w:gz") as archive:
            archive.add(plain, "fer2013/fer2013.csv")
    elif ending == ".zip":
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(plain, "fer2013.csv")
    else:
        packed.write_bytes({".gz": gzip, ".xz": lzma}[ending].compress(plain.read_bytes()))
    fractions = []
    assert read_table(packed, fractions.append).digest() == read_table(plain).digest()
    assert fractions[-1] == pytest.approx(1, abs=0.05)


def test_windows_line_ends_quotes_and_a_byte_order_mark_are_no_fault(table_of, table_row):
    path = table_of(table_row())
    text = path.read_text().replace("\n", "\r\n").replace("0,7", '0,"7', 1).replace("7,Training", '7",Training')
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_table(path).faces.shape == (1, 1, 48, 48)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"count": 2303}, r"fer2013.csv line 3: 2303 pixels, expected 2304 \(48x48\)"),
        ({"count": 2305}, "line 3: 2305 pixels, expected 2304"),
        ({"value": "256"}, "line 3: pixel 1 is '256', expected a whole number from 0 to 255"),
        ({"value": "1000"}, "line 3: pixel 1 is '1000'"),
        ({"value": "-1"}, "line 3: pixel 1 is '-1'"),
        ({"value": "x"}, "line 3: pixel 1 is 'x'"),
        ({"value": "1.5"}, "line 3: pixel 1 is '1.5'"),
        ({"emotion": 7}, "line 3: emotion is '7', expected 0 to 6"),
        ({"emotion": ""}, "line 3: emotion is ''"),
        ({"usage": "Test"}, "line 3: Usage is 'Test', expected Training, PublicTest or PrivateTest"),
        ({"usage": "Training,1"}, "line 3: 4 columns, expected 3"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(f"{key} {given}" for key, given in value.items()),
)
def test_a_faulty_row_is_named_with_its_line(table_of, table_row, fault, message):
    with pytest.raises(UserError, match=message):
        read_table(table_of(table_row(), table_row(**fault), table_row()))


def test_one_pixel_too_few_is_not_made_up_for_by_the_next_row(table_of, table_row):
    with pytest.raises(UserError, match="line 2: 2303 pixels"):
        read_table(table_of(table_row(count=2303), table_row(count=2305)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("emotion,pixels,Usage\n", "has a header but no rows"),
        ("a,b\n1,2\n", "the columns are 'a,b', expected emotion"),
    ],
    ids=["empty", "header only", "another table"],
)
def test_a_file_without_faces_says_so(tmp_path, text, message):
    path = tmp_path / "fer2013.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_table(path)


@pytest.mark.parametrize("packer", [gzip, lzma], ids=["gz", "xz"])
def test_a_cut_off_archive_is_called_damaged(table_of, tmp_path, packer):
    packed = tmp_path / f"fer2013.csv.{'gz' if packer is gzip else 'xz'}"
    packed.write_bytes(packer.compress(table_of(*random_lines(50)[0]).read_bytes())[:-2000])
    with pytest.raises(UserError, match=f"{packed.name} is damaged or cut short"):
        read_table(packed)


@pytest.mark.parametrize("ending", [".gz", ".xz", ".tar.gz", ".zip"])
def test_a_file_that_is_no_archive_is_called_damaged(tmp_path, ending):
    path = tmp_path / f"fer2013{ending}"
    path.write_bytes(b"<html>404 not found</html>" * 40)
    with pytest.raises(UserError, match="is damaged or cut short"):
        read_table(path)


def test_an_archive_without_the_table_says_what_it_looked_for(tmp_path):
    with zipfile.ZipFile(tmp_path / "fer2013.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UserError, match=r"holds neither fer2013\.csv nor icml_face_data\.csv"):
        read_table(tmp_path / "fer2013.zip")
