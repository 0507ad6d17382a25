import pytest

from fer_ablate.config.schema import ColumnsConfig
from fer_ablate.data.sources.listing import list_inventory
from fer_ablate.errors import UserError


@pytest.fixture
def listed(folder_of):
    """Writes a list into the folder of four pictures and reads it."""
    folder = folder_of("1.png", "2.png", "in/3.png", "4.png")

    def read(text, encoding="utf-8", **columns):
        (folder / "labels.csv").write_bytes(text.encode(encoding))
        return list_inventory(folder / "labels.csv", ColumnsConfig(**columns))

    return read


def rows(inventory):
    return [(one.file.path, one.split, one.label, one.group) for one in inventory.pictures]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("file,label,split,group\n1.png,happy,train,ann\nin/3.png,sad,test,bob\n", "utf-8"),
        ("\ufeffImage;Emotion;Usage;Person\n1.png;happy;train;ann\n\n in/3.png ; sad;test;bob\n", "utf-8"),
        ("id\tpath\tclass\tset\tsubject\n0\t1.png\thappy\ttrain\tann\n1\tin\\3.png\tsad\ttest\tbob\n", "utf-16"),
        ("file,label,split,group\r\n1.png,happy,train,ann\r\nin/3.png,sad,test,bob", "latin-1"),
    ],
    ids=["plain", "semicolons, a mark and blanks", "tabs, UTF-16 and Windows paths", "Windows lines"],
)
def test_a_list_is_read_by_column_names(listed, text, encoding):
    assert rows(listed(text, encoding)) == [("1.png", "train", "happy", "ann"), ("in/3.png", "test", "sad", "bob")]


def test_columns_of_other_names_are_given_by_keys(listed):
    found = listed("a,b,c\n1.png,happy,x\n2.png,sad,y\n", file="a", label="b", group="c")
    assert rows(found) == [("1.png", "all", "happy", "x"), ("2.png", "all", "sad", "y")]
    assert found.notes == ("Columns read: a as file, b as label, c as group.",)


def test_rows_that_cannot_be_used_are_counted(listed):
    found = listed("file,label\n1.png,3.0\nnone.png,1\n2.png,\n4.txt,1\n1.png,3\n")
    assert rows(found) == [("1.png", "all", "3", "")]
    assert found.left_out == {"not found": 1, "without a label": 1, "not a picture by their ending": 1, "listed twice": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("file,label\n", "has a header but no rows"),
        ("file,mood\n1.png,3\n", r"no column is called label; there are file, mood\. Name it by data\.columns\.label=\.\.\."),
        ("emotion,pixels\n3,1 2 3\n", r"holds the pixels themselves: read it by data=fer2013"),
        ("file,label\nnone.png,1\n", r"none of its 1 rows is a picture that is there \(not found 1\), such as 'none\.png'"),
        ("file,label\n1.png,1\n1.png,2\n", r"1\.png is listed as 1 and as 2"),
        ("\0\1\2", "is no text"),
        ('file,label\n1.png,"happy\n2.png,sad\n', r"row 2: a quote is opened and not closed on its line"),
    ],
    ids=["nothing", "no rows", "no label", "pixels", "no pictures", "two labels", "binary", "an open quote"],
)
def test_a_list_that_cannot_be_used_says_why(listed, text, message):
    with pytest.raises(UserError, match=message):
        listed(text)


def test_one_picture_under_two_paths_counts_once(listed, tmp_path):
    found = listed(f"sep=,\nfile,label\n1.png,happy\n{tmp_path / 'faces' / '1.png'},Happiness\n2.png,nan\n")
    assert (len(found.pictures), found.left_out) == (1, {"listed twice": 1, "without a label": 1})


def test_a_missing_column_is_named_with_the_others(listed):
    with pytest.raises(UserError, match=r"data\.columns\.label=mod: there is no such column\. Did you mean 'mood'\?"):
        listed("file,mood\n1.png,3\n", label="mod")


def test_a_split_column_of_row_numbers_is_refused(listed, folder_of):
    folder_of(*(f"{number}.png" for number in range(60)), root="faces")
    text = "file,label,split\n" + "".join(f"{number}.png,happy,{number}\n" for number in range(60))
    with pytest.raises(UserError, match=r"the split column has 60 values.*data\.columns\.split"):
        listed(text)


def test_one_picture_in_two_splits_is_refused(listed):
    with pytest.raises(UserError, match=r"1\.png is listed as train and as test\. Take one of the two lines out"):
        listed("file,label,split\n1.png,happy,train\n1.png,happy,test\n")
    found = listed("file,label,split\n1.png,happy,train\n1.png,happy,Training\n")
    assert (rows(found), found.left_out) == ([("1.png", "train", "happy", "")], {"listed twice": 1})


def test_a_further_column_of_labels_is_noted(listed):
    text = "image,Emotion,label,name\n1.png,happy,3,ann\n"
    found = listed(text)
    assert rows(found) == [("1.png", "all", "3", "")]
    assert found.notes == (
        "Columns read: image as file.",
        "Column 'image' is read as file; 'name' is not read.",
        "Column 'label' is read as label; 'Emotion' is not read.",
    )
    assert listed(text, file="image", label="emotion", group="name").notes == (
        "Columns read: image as file, Emotion as label, name as group.",
    )


@pytest.mark.parametrize("columns", [{}, {"label": "label"}], ids=["found", "given"])
def test_two_columns_of_one_name_are_refused(listed, columns):
    with pytest.raises(UserError, match=r"2 columns are called 'label', expected one\. Rename the others"):
        listed("file,label,Label\n1.png,happy,sad\n", **columns)
