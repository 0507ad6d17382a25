import posixpath
import re

from fer_ablate.tracking.mlflow.params import (
    PARAM_LENGTH,
    ROW_NAME_LENGTH,
    distinct_names,
    own_tags,
    parameter_name,
    parameters,
)

CONFIG = "seed: 3\nname: null\nmodel: {conv_layers: 4, width: 1.0, stages: [{channels: 64}]}\n"


def test_what_was_changed_comes_first_and_everything_once():
    found = parameters(CONFIG, {"model.conv_layers": "4"})
    assert list(found.items()) == [
        ("model.conv_layers", "4"),
        ("seed", "3"),
        ("name", "null"),
        ("model.width", "1.0"),
        ("model.stages", '[{"channels": 64}]'),
    ]


def test_a_change_that_is_no_leaf_is_kept():
    assert parameters("", {"optimizer": "adam"}) == {"optimizer": "adam"}


def test_names_mlflow_would_refuse_are_respelt():
    assert parameter_name("model.stages[0].channels") == "model.stages.0.channels"
    assert parameter_name("a=b@c") == "a_b_c"


def test_a_long_value_is_cut_with_an_ellipsis():
    value = parameters(f"steps: {'x' * 7000}", {})["steps"]
    assert len(value) == PARAM_LENGTH
    assert value.endswith("x…")


def test_row_labels_stay_distinct_in_mlflow():
    long = ["x" * 300, "x" * 299 + "y"]
    labels = ["+1 Conv", "-1 Conv", "_1 Conv", "1 Conv", "lr=0.1", "lr:0.1", "Adam", "adam", ".", "..", "a/b", "a//b", "+", *long]
    names = list(distinct_names(labels).values())
    assert len({name.lower() for name in names}) == len(labels)
    assert names[:4] == ["plus 1 Conv", "-1 Conv", "_1 Conv", "1 Conv"]
    for name in names:
        assert re.fullmatch(r"[\w\-. ]+", name)
        assert posixpath.normpath(f"{name}/test/acc/mean") == f"{name}/test/acc/mean"
        assert len(name) < ROW_NAME_LENGTH + 10


def test_later_rows_leave_the_names_of_others():
    first = distinct_names(["lr=0.1", "lr:0.1"])
    assert distinct_names(["lr=0.1", "lr:0.1", "lr@0.1"]).items() >= first.items()


def test_tags_of_the_users_own_are_texts():
    assert own_tags("tracking: {tags: {owner: ada, cards: 2}}") == {"owner": "ada", "cards": "2"}
    assert own_tags("tracking: {uri: x}") == own_tags("") == {}
