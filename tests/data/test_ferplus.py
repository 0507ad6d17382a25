import io
import zipfile

import numpy as np
import pytest

from fer_ablate.config.choices import Labels
from fer_ablate.data.sources.ferplus import targets_from_votes, with_votes
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS_8, FERPLUS_COLUMNS, FERPLUS_TO_EMOTION

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def shares(labels, num_classes=8, **votes):
    """Target of one image as {emotion: share}."""
    row = np.array([[votes.get(name, 0) for name in FERPLUS_COLUMNS]])
    target = targets_from_votes(row, labels, num_classes)[0]
    return {EMOTIONS_8[index]: round(float(share), 4) for index, share in enumerate(target) if share}


@pytest.mark.parametrize(
    ("votes", "kept"),
    [
        ({"happiness": 6, "neutral": 4}, {"happy": 1.0}),
        ({"happiness": 5, "neutral": 5}, {}),  # exactly half is no majority
        ({"happiness": 5, "neutral": 4, "fear": 1}, {"happy": 1.0}),  # 5 of 9: the single vote is a slip
        ({"unknown": 6, "sadness": 4}, {}),
        ({"NF": 10}, {}),
    ],
    ids=["6 of 10", "a tie", "single vote not counted", "unknown wins", "no face"],
)
def test_majority_keeps_classes_with_most_votes(votes, kept):
    assert shares(Labels.majority, **votes) == kept


@pytest.mark.parametrize(
    ("votes", "kept"),
    [
        ({"happiness": 8, "neutral": 2}, {"happy": 1.0}),  # three quarters are covered by the first
        ({"happiness": 6, "neutral": 4}, {"happy": 0.6, "neutral": 0.4}),
        ({"anger": 4, "disgust": 3, "fear": 3}, {"angry": 0.4, "disgust": 0.3, "fear": 0.3}),
        ({"anger": 3, "disgust": 3, "fear": 2, "sadness": 2}, {}),  # the last two tie: four emotions
        ({"sadness": 6, "unknown": 4}, {"sad": 1.0}),
        ({"sadness": 5, "unknown": 5}, {}),  # half of the votes is not enough
        ({"unknown": 4, "sadness": 3, "fear": 3}, {}),
    ],
    ids=["covered by one", "two", "three", "four tie", "stops at unknown", "too few before unknown", "unknown first"],
)
def test_distributions_hold_the_most_voted_emotions(votes, kept):
    assert shares(Labels.cross_entropy, **votes) == shares(Labels.probability, **votes) == kept


def test_seven_classes_lose_contempt():
    votes = {"neutral": 6, "contempt": 4}
    assert shares(Labels.cross_entropy, 8, **votes) == {"neutral": 0.6, "contempt": 0.4}
    assert shares(Labels.cross_entropy, 7, **votes) == {"neutral": 1.0}
    assert shares(Labels.cross_entropy, 7, neutral=4, contempt=6) == {}


def by_the_book(votes):
    """The paper's rule for one image, step by step: (share per emotion) or None."""
    left = [vote if vote > 1 else 0 for vote in votes]
    total, chosen = sum(left), {}
    while sum(chosen.values()) < 0.75 * total and len(chosen) < 3:
        tied = [column for column, vote in enumerate(left) if vote == max(left)]
        emotions = [column for column in tied if column < 8]
        for column in emotions:
            chosen[column], left[column] = left[column], 0
        if len(emotions) < len(tied):
            break
    if len(chosen) > 3 or sum(chosen.values()) <= 0.5 * total:
        return None
    return {FERPLUS_TO_EMOTION[column]: vote / sum(chosen.values()) for column, vote in chosen.items()}


@pytest.mark.long
def test_random_votes_agree_with_the_plain_rule():
    weights = np.random.default_rng(0).dirichlet(np.full(10, 0.5), 5000)
    votes = np.stack([np.random.default_rng(row).multinomial(10, share) for row, share in enumerate(weights)])
    targets = targets_from_votes(votes, Labels.cross_entropy, 8)
    for row, target in zip(votes, targets, strict=True):
        expected = by_the_book(row.tolist())
        assert dict(enumerate(target)) == pytest.approx({index: (expected or {}).get(index, 0) for index in range(8)})
    assert 1000 < targets.any(axis=1).sum() < 5000


def votes_file(tmp_path, *rows):
    path = tmp_path / "fer2013new.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def test_only_decided_images_get_their_voted_label(tmp_path, set_of):
    faces = set_of([1, 2], [0, 0], ["Training", "Training"])
    path = votes_file(tmp_path, "Training,a.png,0,9,0,0,0,0,0,0,0,1", "Training,,0,0,0,0,0,0,0,0,0,10")
    joined = with_votes(faces, path, Labels.majority, 8)
    assert (joined.rows.tolist(), joined.labels.tolist(), joined.targets) == ([0], [3, -1], None)
    assert joined.classes == EMOTIONS_8
    assert joined.digest != faces.digest


def test_votes_for_other_rows_are_refused(tmp_path, set_of):
    faces = set_of([1, 2], [0, 0], ["Training", "PublicTest"])
    row = "Training,a.png,0,9,0,0,0,0,0,0,0,1"
    with pytest.raises(UserError, match=r"has 1 rows but the faces have 2.*joined by row order"):
        with_votes(faces, votes_file(tmp_path, row), Labels.majority, 8)
    with pytest.raises(UserError, match=r"line 3: Usage is 'Training', but row 2 of the faces is 'PublicTest'"):
        with_votes(faces, votes_file(tmp_path, row, row), Labels.majority, 8)


def test_a_broken_votes_file_names_its_line(tmp_path, set_of):
    faces = set_of([1], [0], ["Training"])
    with pytest.raises(UserError, match=r"fer2013new\.csv line 2: expected Usage, Image name and 10 whole numbers"):
        with_votes(faces, votes_file(tmp_path, "Training,a.png,0,x,0,0,0,0,0,0,0,1"), Labels.majority, 8)
    (tmp_path / "fer2013new.csv").write_text("emotion,pixels,Usage\n")
    with pytest.raises(UserError, match="line 1: the columns are not those of FER"):
        with_votes(faces, tmp_path / "fer2013new.csv", Labels.majority, 8)


ROW = "Training,é.png,0,9,0,0,0,0,0,0,0,1"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_votes_are_read_in_every_encoding(tmp_path, set_of, encoding):
    path = tmp_path / "fer2013new.csv"
    path.write_bytes(f"{HEADER}\r\n{ROW}\r\n\r\n,,,,,,,,,,,\r\n".encode(encoding))  # lines without content are skipped
    assert with_votes(set_of([1], [0], ["Training"]), path, Labels.majority, 8).labels.tolist() == [3]


@pytest.mark.parametrize("count", ["9" * 30, "9" * 5000, "²", "٣"], ids=["30 digits", "5000 digits", "a power", "Arabic digits"])
def test_counts_that_are_no_counts_are_refused(tmp_path, set_of, count):
    path = votes_file(tmp_path, "", f"Training,a.png,{count},9,0,0,0,0,0,0,0,1")
    with pytest.raises(UserError, match=r"fer2013new\.csv line 3: expected Usage, Image name and 10 whole numbers"):
        with_votes(set_of([1], [0], ["Training"]), path, Labels.majority, 8)


def test_a_votes_file_that_is_no_csv(tmp_path, set_of, shared, forbidden):
    faces, path = set_of([1], [0], ["Training"]), votes_file(tmp_path, f"Training,{'a' * 200_000},0,9,0,0,0,0,0,0,0,1")
    with pytest.raises(UserError, match=r"is no csv \(field larger than field limit \(131072\)\)\. Download the file again"):
        with_votes(faces, path, Labels.majority, 8)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(path)
    path.write_bytes(packed.getvalue())
    with pytest.raises(UserError, match=r"is no text\. Pass fer2013new\.csv .* as data\.ferplus_path"):
        with_votes(faces, path, Labels.majority, 8)
    locked = votes_file(shared, ROW)
    with forbidden(locked), pytest.raises(UserError, match=r"cannot be read \(Permission denied\)\. Pass fer2013new\.csv"):
        with_votes(faces, locked, Labels.majority, 8)
