import random
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fer_ablate.data.faces import content_digest
from fer_ablate.data.sources import table_lines
from fer_ablate.data.sources.table import looks_like_table, read_table
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS, EMOTIONS_8, USAGES


def read(path, progress=None):
    """The faces written, in one array, and its notes."""
    blocks = []
    parsed = read_table(path, blocks.append, progress)
    return np.concatenate(blocks), parsed


def read_or_refused(path):
    """Returns the result of `read`, or the message of its error."""
    try:
        return read(path)
    except UserError as error:
        return str(error)


def digest(path):
    return content_digest(*read(path))


def random_lines(count, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 2304))
    lines = [
        f"{row % 7},{' '.join(map(str, face))},{('Training', 'PublicTest', 'PrivateTest')[row % 3]}"
        for row, face in enumerate(pixels)
    ]
    return lines, pixels.reshape(count, 1, 48, 48)


def small(*rows, header="emotion,pixels,Usage"):
    """A table of 2x2 faces."""
    return "\n".join([header, *rows]) + "\n"


@pytest.fixture
def text_of(tmp_path):
    """Writes bytes or text to a file and returns its path."""

    def write(text, name="fer2013.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_pixels_labels_and_splits_come_from_the_table(table_of):
    lines, pixels = random_lines(20)
    faces, parsed = read(table_of(*lines))
    assert np.array_equal(faces, pixels)
    assert parsed.labels.tolist() == [row % 7 for row in range(20)]
    assert [parsed.splits[index] for index in parsed.usage[:3]] == ["Training", "PublicTest", "PrivateTest"]
    assert (parsed.classes, parsed.left_out, parsed.notes) == (EMOTIONS, {}, ())


def test_faces_come_in_blocks_while_reading(table_of, monkeypatch):
    lines, pixels = random_lines(20)
    monkeypatch.setattr(table_lines, "CHUNK", 40_000)
    blocks, fractions = [], []
    read_table(table_of(*lines), blocks.append, fractions.append)
    assert max(len(block) for block in blocks) < 8
    assert np.array_equal(np.concatenate(blocks), pixels)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["LF", "CR LF", "CR"])
@pytest.mark.parametrize("chunk", [1, 7, 10_007])
def test_rows_across_chunk_edges_stay_whole(text_of, monkeypatch, line_end, chunk):
    lines, pixels = random_lines(7)
    if chunk < 10:
        lines, pixels = ["0,1 2 3 4,Training", "", "1,5 6 7 8,PublicTest"], np.arange(1, 9).reshape(2, 1, 2, 2)
    monkeypatch.setattr(table_lines, "CHUNK", chunk)
    faces, parsed = read(text_of(line_end.join(["emotion,pixels,Usage", *lines])))
    assert np.array_equal(faces, pixels)
    assert parsed.left_out == ({"empty lines": 1} if chunk < 10 else {})


def test_a_kaggle_copy_with_blanks_reads_the_same(table_of):
    lines, _ = random_lines(4)
    kaggle = [",".join([line.split(",")[0], line.split(",")[2], line.split(",")[1]]) for line in lines]
    original = digest(table_of(*lines))
    assert digest(table_of(*kaggle, header="emotion, Usage, pixels", name="icml_face_data.csv")) == original


ROWS = ("3,1 22 3 255,Training", "5,5 6 70 8,PrivateTest")
FACES = [[[[1, 22], [3, 255]]], [[[5, 6], [70, 8]]]]


@pytest.mark.parametrize(
    "text",
    [
        small(*ROWS),
        small(*ROWS).rstrip("\n"),
        small(*ROWS).replace(",", ";"),
        small(*ROWS).replace(",", "\t"),
        small(*ROWS).replace(",", "|"),
        "sep=;\n" + small(*ROWS).replace(",", ";"),
        small(*ROWS, header=' "EMOTION" , Pixels ,USAGE'),
        small(*ROWS, header="Label,pixel,split"),
        small("3.0,1.0 22.0 3. 255.000,Training", "5.0,5 6 70.0 8,PrivateTest"),
        small("+3,1 +22 03 255,Training", " 5 , 5 6  70\t8 ,PrivateTest"),
        small('3,"[1, 22, 3, 255]",Training', '5,"[5,6,70,8]",PrivateTest'),
        small("3,[1, 22, 3, 255],Training", "5,[5. 6. 70. 8.],PrivateTest"),
        small('3,"1,22,3,255",Training', '"5","5 6 70 8","PrivateTest"'),
        small('3,"[[ 1 22]\n [ 3 255]]",Training', "5,5 6 70 8,PrivateTest"),
        small("happy,1 22 3 255,training", "Surprised,5 6 70 8,private_test"),
        small("3,1 22 3 255,train", "5,5 6 70 8,TEST"),
        small("3,1 22 3 255,Training,", "5,5 6 70 8,PrivateTest,", header="emotion,pixels,Usage,"),
        small(ROWS[0] + ",,", ROWS[1] + ",,"),
        "\ufeff" + small(*ROWS),
        small(*ROWS).encode("utf-16"),
        small(*ROWS).encode("utf-16-le"),
        small(*ROWS).encode("utf-32"),
    ],
    ids=[
        *("plain", "no line end at the end", "semicolons", "tabs", "bars", "a line sep=; ahead", "quoted upper-case header"),
        *("other names of columns", "decimals", "signs and blanks", "bracketed and quoted", "bracketed only", "quoted commas"),
        *("over two lines", "names of emotions", "other names of splits", "a delimiter at all line ends"),
        *("delimiters at the ends of rows", "byte order mark", "UTF-16", "UTF-16 without a mark", "UTF-32"),
    ],
)
def test_other_spellings_of_a_table_read_equal(text_of, text):
    faces, parsed = read(text_of(text))
    assert faces.tolist() == FACES
    assert parsed.labels.tolist() == [3, 5]
    assert parsed.usage.tolist() == [0, 2]
    assert (parsed.splits, parsed.classes, parsed.left_out) == (USAGES, EMOTIONS, {})


def test_what_is_not_read_is_counted(text_of):
    text = small(
        "0,3,1 22 3 255,ann,Training", "", " ,,,", "1,5,5 6 70 8,bob,PrivateTest", "", header=",emotion,pixels,who,Usage"
    )
    faces, parsed = read(text_of(text))
    assert faces.tolist() == FACES
    assert parsed.left_out == {"empty lines": 3, "other columns": 2}


def test_letters_of_an_old_encoding_do_no_harm(text_of):
    text = small("3,Zoë,1 22 3 255,Training", "5,Jürgen,5 6 70 8,PrivateTest", header="emotion,prénom,pixels,Usage")
    assert read(text_of(text.encode("latin-1")))[0].tolist() == FACES


def test_a_note_says_which_similar_column_is_read(text_of):
    _, parsed = read(text_of(small("9,3,1 22 3 255", header="label,emotion,pixels")))
    assert parsed.labels.tolist() == [3]
    assert "Column 'emotion' is read as emotion; 'label' is not read." in parsed.notes


def test_a_table_without_splits_says_they_are_drawn(text_of):
    _, parsed = read(text_of(small("3,1 22 3 255", "5,5 6 70 8", header="emotion,pixels")))
    assert (parsed.splits, parsed.usage.tolist()) == (("all",), [0, 0])
    assert any("no column Usage, so val and test are drawn" in note for note in parsed.notes)


def test_label_7_is_contempt_and_makes_eight_classes(text_of):
    _, parsed = read(text_of(small("0,1 2 3 4,Training", "7,1 2 3 4,Training")))
    assert parsed.classes == EMOTIONS_8
    assert parsed.notes[1:] == ("Label 7 is read as contempt (8 classes).",)


def test_labels_counting_from_1_are_pointed_out(text_of):
    _, parsed = read(text_of(small("1,1 2 3 4,Training", "7,1 2 3 4,Training")))
    assert "If the labels count from 1, all are misread" in parsed.notes[-1]


def test_faces_of_another_side_are_read_and_said(text_of):
    row = " ".join(["9"] * 64 * 64)
    faces, parsed = read(text_of(small(f"0,{row},Training", f"1,{row},Training")))
    assert faces.shape == (2, 1, 64, 64)
    assert parsed.notes == ("The faces are 64x64; those of FER2013 are 48x48.",)


@pytest.mark.parametrize(
    ("fault", "message", "damaged"),
    [
        ({"count": 2303}, r"fer2013.csv line 4: 2303 pixels, expected 2304 \(48x48\)", True),
        ({"count": 2305}, "line 4: 2305 pixels, expected 2304", True),
        ({"value": "256"}, "line 4: pixel 1 is '256', expected a whole number from 0 to 255", True),
        ({"value": "1000"}, "line 4: pixel 1 is '1000'", True),
        ({"value": "-1"}, "line 4: pixel 1 is '-1'", True),
        ({"value": "x"}, "line 4: pixel 1 is 'x'", True),
        ({"value": "1.5"}, "line 4: pixel 1 is '1.5'", True),
        ({"value": "0.27"}, "line 4: pixel 1 is '0.27', .* scaled to 0 to 1, multiply", False),
        ({"value": "..."}, "line 4: the pixels hold '...' in place of numbers: NumPy shortened", False),
        ({"emotion": 8}, "line 4: emotion is '8', expected 0 to 7", False),
        ({"emotion": -1}, "line 4: emotion is '-1', expected 0 to 7", False),
        ({"emotion": 1.5}, "line 4: emotion is '1.5'", False),
        ({"emotion": ""}, "line 4: emotion is ''", False),
        ({"emotion": "bored"}, "line 4: emotion is 'bored', expected .*7 contempt.* or such a name", False),
        ({"emotion": "happy"}, "line 4: emotion is 'happy', but the lines before have numbers", False),
        ({"usage": "Extra"}, "line 4: Usage is 'Extra', expected Training, PublicTest or PrivateTest", False),
        ({"usage": ""}, "line 4: Usage is ''", False),
        ({"usage": "Training,1"}, "line 4: more columns than the 3 of the header", False),
    ],
    ids=lambda value: "-".join(f"{key} {given}" for key, given in value.items()) if isinstance(value, dict) else "",
)
def test_a_faulty_row_is_named_with_its_line(table_of, table_row, fault, message, damaged):
    with pytest.raises(UserError, match=message) as caught:
        read(table_of(table_row(), "", table_row(**fault), table_row()))
    assert ("damaged" in str(caught.value)) is damaged
    assert "\n" not in str(caught.value)


def test_a_missing_pixel_is_not_taken_from_elsewhere(table_of, table_row):
    with pytest.raises(UserError, match="line 2: 2303 pixels"):
        read(table_of(table_row(count=2303), table_row(count=2305)))


def test_rows_of_unlike_sides_are_refused(table_of, table_row):
    with pytest.raises(UserError, match=r"line 3: 2304 pixels, expected 4096 \(64x64, as in line 2\)"):
        read(table_of(table_row(count=4096), table_row()))


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n,,\n", "is empty: no line in it holds anything"),
        ("emotion,pixels,Usage\n", "has a header but no rows"),
        ("a,b\n1,2\n", "no column of pixels; the columns are 'a', 'b', expected emotion"),
        ("filename,label\na.png,1\n", "A list of files and their labels is read with data=list data.path=.*fer2013.csv"),
        ("emotion,pixels,Usage\n0,a.png,Training\n", "line 2: pixels is 'a.png'.* data=list data.path="),
        ("pixels\n1 2 3 4\n", "no column of labels .* Images without labels cannot be trained"),
        ("emotion,emotion,pixels\n", "2 columns are called 'emotion', expected one"),
        ("0,1 2 3 4 5 6 7 8 9,Training\n", "line 1 holds numbers, expected the names of the columns"),
        ("label," + ",".join(f"pixel{n}" for n in range(64)), "the pixels are in 64 columns of their own, expected one column"),
        (
            "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n",
            "these are the votes of FER.* data.ferplus_path=",
        ),
        (small("0," + "1 " * 48 * 48 * 3 + ",Training"), "line 2: 6912 pixels are a square in three colours"),
        (small("0,1 2 3,Training"), r"line 2: 3 pixels, expected 2304 \(48x48\) or those of another square"),
        (small("0,1,2,3,4,Training"), "line 2: more columns than the 3 of the header. Put fields that hold ',' in quotes"),
        (small("0,1 2 3 4"), "line 2: 2 columns, expected 3 as in the header. Is the line cut short"),
        (small('0,"1 2 3 4,Training', "1,1 2 3 4,Training"), r'line 2: a quote \("\) is opened and never closed'),
        (small("7" * 20_000_000), "line 2 is longer than 16 MB"),
        (small("0," + "12 " * 64 + ",Training") + "\0" * 400, "line 3: zero bytes in place of text: the file is damaged"),
        (small("0," + "12 " * 64 + ",Training") + "\0" * 20_000_000, "line 3 is nothing but zero bytes: the file is damaged"),
        ("emotion,pixels\n" + "\n" * 3_000_000, "more than 1,000,000 empty lines"),
    ],
    ids=[
        *("empty", "blanks", "header only", "another table", "list of files", "names of files as pixels", "no labels"),
        *("a column twice", "no header", "a column for each pixel", "FER+", "colour", "no square", "bare commas", "short row"),
        *("open quote", "endless line", "zero bytes at the end", "many of them", "empty lines"),
    ],
)
def test_a_foreign_file_is_named_as_it_is(text_of, text, message):
    with pytest.raises(UserError, match=message) as caught:
        read(text_of(text))
    assert "\n" not in str(caught.value)


def test_a_glance_tells_a_table_from_other_files(text_of, tmp_path):
    assert looks_like_table(text_of(small(*ROWS)))
    assert looks_like_table(text_of(small("0;1 2 3 4", header="Emotion;Pixels").encode("utf-16")))
    assert not looks_like_table(text_of("filename,label\na.png,1\n"))
    assert not looks_like_table(text_of(""))
    assert not looks_like_table(text_of(b"PK\x03\x04 no zip"))
    assert not looks_like_table(tmp_path)
    assert not looks_like_table(tmp_path / "missing.csv")


FIELDS = st.one_of(
    st.sampled_from(
        ["0", "6", "7", "9", "-1", "3.0", "happy", "1 2 3 4", "[1, 2, 3, 4]", '"1,2,3,4"', "1 2 300 4", "1 2", "..."]
    ),
    st.sampled_from(["Training", "PublicTest", "all", "", " ", '"', '""', "\0", "é", "[", "]", "0.5 .5 1e3 7", "9" * 5000]),
    st.text(max_size=5),
)
TABLES = st.tuples(
    st.lists(st.sampled_from(["emotion", " Label", "pixels", "Usage", "", "split", "other"]), max_size=5, unique=True),
    st.lists(st.lists(FIELDS, max_size=5), max_size=6),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)


@settings(max_examples=50, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TABLES, st.binary(max_size=8), st.integers(0, 300))
def test_any_text_is_read_or_plainly_refused(tmp_path, table, noise, place):
    header, rows, delimiter, line_end, encoding = table
    text = line_end.join(delimiter.join(row) for row in [header, *rows]).encode(encoding, "replace")
    path = tmp_path / "fer2013.csv"
    path.write_bytes(text[:place] + noise + text[place:])
    looks_like_table(path)
    result = read_or_refused(path)
    if isinstance(result, str):
        assert result.isprintable()
    else:
        faces, parsed = result
        assert len(faces) == len(parsed.labels) == len(parsed.usage) > 0
        assert faces.dtype == np.uint8
        assert faces.shape[2] == faces.shape[3]


@pytest.mark.long
@settings(max_examples=30, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 255), min_size=9, max_size=9), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_other_number_spellings_give_the_same_faces(tmp_path, faces, rand: random.Random):
    def written(value):
        return rand.choice(["{}", "{}.0", "+{}", "0{}", "{}."]).format(value)

    def row(face):
        begin, between, end = rand.choice([("", " ", ""), ('"[', ", ", ']"'), ("[", "  ", "]"), ('"', ",", '"')])
        label, usage = rand.choice(["2", "2.0", " 2"]), rand.choice(["Training", "train"])
        return f"{label},{begin}{between.join(map(written, face))}{end},{usage}"

    path = tmp_path / "fer2013.csv"
    path.write_text(small(*map(row, faces)))
    assert read(path)[0].reshape(-1, 9).tolist() == faces


@pytest.mark.long
def test_an_endless_line_is_refused_at_once(text_of):
    path = text_of(b"emotion,pixels,Usage\n0," + b"1 " * 30_000_000)
    start = time.process_time()
    with pytest.raises(UserError, match="line 2 is longer than 16 MB"):
        read(path)
    assert time.process_time() - start < 3  # 0.2 on an idle core


def test_pixels_as_numpy_writes_them_are_read(table_of, table_row, collected):
    path = table_of(table_row(value="1.450000000000000000e+02"))
    faces, _ = collected(lambda write: read_table(path, write))
    assert (faces == 145).all()
