"""An override splits into prefix, key and value, and its text comes back unchanged."""

import pytest
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st

from fer_ablate.config.overrides import Override, assignment, key_of, parsed_overrides, quoted, value_of

PARTS = {
    "model.conv_layers=4": ("", "model.conv_layers", "4"),
    "+trainer.x='a=1,b'": ("+", "trainer.x", "'a=1,b'"),
    "++optimizer.lr=0.1": ("++", "optimizer.lr", "0.1"),
    "~optimizer.momentum": ("~", "optimizer.momentum", None),
    "~scheduler=cosine": ("~", "scheduler", "cosine"),
    "hydra/launcher=joblib": ("", "hydra/launcher", "joblib"),
    "model@other=pisa": ("", "model@other", "pisa"),
    "name=": ("", "name", ""),
    "name='two\nlines'": ("", "name", "'two\nlines'"),
}


@pytest.mark.parametrize(("text", "parts"), PARTS.items(), ids=map(repr, PARTS))
def test_an_override_has_prefix_key_and_value(text, parts):
    one = Override.parse(text)
    assert (one.prefix, one.key, one.value) == parts
    assert (key_of(text), value_of(text)) == (parts[1], parts[2] or "")


@pytest.mark.parametrize("text", [text for text in PARTS if "@" not in text])
def test_hydra_splits_it_in_the_same_way(text):
    assert parsed_overrides([text])[0].key_or_group == key_of(text)


@pytest.mark.long
@given(st.text("ab1=.,:+~@/\\ \n'\"$*[]{}()\0é表"))
def test_any_text_comes_back_unchanged(text):
    assert str(Override.parse(text)) == text


def test_run_names_take_the_last_key_part():
    one = Override.parse("+model.conv_layers=4")
    assert (one.without_prefix, one.short, str(one.with_value(5))) == (
        "model.conv_layers=4",
        "conv_layers=4",
        "+model.conv_layers=5",
    )


def test_hydra_s_parser_decides_what_an_override_is():
    with pytest.raises(HydraException):
        parsed_overrides(["a b="])


@pytest.mark.parametrize(
    ("value", "spelled"),
    [(None, "null"), (True, "true"), ([1, 2], "[1,2]"), ({"op": "flip", "p": 0.5}, "{op:flip,p:0.5}"), ("a b", "'a b'")],
)
def test_values_are_spelled_in_hydra_s_grammar(value, spelled):
    assert assignment("key", value) == f"key={spelled}"
    assert parsed_overrides([f"key={spelled}"])[0].value() == value


def test_quotes_within_quotes():
    assert quoted("it's") == r"'it\'s'"
    for text in ("it's", r"(S\d+)_", "a\\", r"\\'"):
        assert parsed_overrides(["key=" + quoted(text)])[0].value() == text


@pytest.mark.parametrize("text", ["/home/josé/faces", "名前/x", "~/x"])
def test_letters_outside_ascii_are_quoted(text):
    assert quoted(text) == f"'{text}'"
    assert parsed_overrides([f"key={quoted(text)}"])[0].value() == text


def test_plain_words_stay_unquoted():
    assert quoted("runs/a_1-b.2") == "runs/a_1-b.2"
