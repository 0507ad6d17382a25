import pytest

from fer_ablate.tracking.mlflow.notes import NOTE_LENGTH, with_part


def test_each_study_has_its_own_part():
    note = with_part(with_part("", "depth", "one"), "width", "two")
    again = with_part(note, "depth", "three")
    assert again.count("<!-- study: depth -->") == 1
    assert [text in again for text in ("one", "two", "three")] == [False, True, True]
    assert again.index("three") < again.index("two")  # the newest first


def test_what_people_wrote_stays():
    note = with_part("Ask Ann about the faces.", "depth", "one")
    assert note.startswith("Ask Ann about the faces.\n\n<!-- study: depth -->")
    edited = note + "\n\nSeed 3 is odd."
    assert with_part(edited, "depth", "two").startswith("Ask Ann about the faces.\n\nSeed 3 is odd.\n\n<!--")


@pytest.mark.parametrize("written", [0, 3000], ids=["nothing_else", "with_a_long_text"])
def test_old_parts_leave_before_the_limit(written):
    note = "w" * written
    for study in "abcd":
        note = with_part(note, study, study * 1900)
    assert len(note) <= NOTE_LENGTH
    assert "d" * 1900 in note
    assert "a" * 1900 not in note


@pytest.mark.parametrize("name", ["a --> b", "a -- b", "two\nlines"])
def test_no_name_ends_the_comment(name):
    note = with_part(with_part("", name, "one"), name, "two")
    assert note.count("-->") == 2
    assert "one" not in note
