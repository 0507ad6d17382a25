import pytest

from fer_ablate.data.classes import class_key, emotion, joined_classes, split_part


@pytest.mark.parametrize(
    ("spellings", "key"),
    [
        (("Happy", "happiness", "HAPPY ", "joy"), "happy"),
        (("Anger", "angry", "an_gry"), "angry"),
        (("surprised", "Surprise"), "surprise"),
        (("Fearful", "fear", "2_Fear", "fear 01"), "fear"),
        (("Class A", "class_a", "CLASSA"), "classa"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_spellings_of_one_class_have_one_key(spellings, key):
    assert {class_key(name) for name in spellings} == {key}


def test_marks_that_tell_classes_apart_stay():
    for names in (("-1", "0", "+1"), ("1", "1.0", "10"), ("A", "A+", "A-"), ("1_1", "11")):
        assert len({class_key(name) for name in names}) == len(names)


def test_letters_that_unicode_has_twice_are_the_same():
    assert class_key("fr\u00f6hlich") == class_key("fro\u0308hlich")


def test_two_letters_are_no_emotion():
    assert emotion("an") is None
    assert class_key("3") == "3"


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("train", "Training", "TRAIN_SET", "train_images"), "train"),
        (("val", "Validation", "dev", "PublicTest", "val_class", "FER2013Valid"), "val"),
        (("test", "Testing", "PrivateTest", "test_data"), "test"),
        (("eval", "train_augmented", "extra", "all", "testimonial", "set"), None),
    ],
    ids=["train", "val", "test", "unknown"],
)
def test_splits_are_known_by_their_usual_names_alone(names, part):
    assert {split_part(name) for name in names} == {part}


def test_joined_classes_keep_their_spelling_or_emotion():
    classes, index_of = joined_classes(["Sad", "sadness", "Bored", "happy"])
    assert classes == ("Bored", "happy", "sad")
    assert index_of == {"Sad": 2, "sadness": 2, "Bored": 0, "happy": 1}
