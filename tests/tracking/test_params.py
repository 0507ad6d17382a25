from fer_ablate.tracking.params import PARAM_LENGTH, parameter_name, parameters

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
