"""Words of a verb: read from its dataclass, checked together, and listed by its help."""

from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Annotated

import pytest
from annotated_types import Ge, Interval

from fer_ablate.cli.words import help_of, read_words, words_of
from fer_ablate.config.constraints import one_of
from fer_ablate.errors import FaultyConfigError

VERBS = {
    "across": "AcrossWords",
    "clean": "CleanWords",
    "compare": "CompareWords",
    "data": "DataWords",
    "ensemble": "EnsembleWords",
    "explain": "ExplainWords",
    "export": "ExportWords",
    "path": "PathWords",
    "predict": "PredictWords",
    "report": "ReportWords",
    "reproduce": "ReproduceWords",
    "results": "ResultsWords",
    "runs": "RunsWords",
    "table": "TableWords",
    "watch": "WatchWords",
}


class Colour(Enum):
    red = "red"
    green = "green"


@dataclass(frozen=True, kw_only=True)
class PaintWords:
    """Words of a verb that does not exist."""

    wall: tuple[str, ...]  # what is painted
    colour: Colour = Colour.red  # of the paint
    tools: tuple[Annotated[str, one_of("brush", "roller")], ...] = ("brush",)  # in their order
    # Number of coats.
    coats: Annotated[int, Interval(ge=1, le=3)] = 2
    litres: Annotated[float, Ge(0)] | None = None  # of MLflow paint
    dry: bool = False  # wait until it is dry
    output: Path | None = None  # file of a picture


def test_every_kind_of_word_is_read():
    typed = ["wall=north", "wall=a, b", "colour=green", "tools=[roller, brush]", "coats=3", "litres=1e-1", "dry=true", "seed=0"]
    words, rest = read_words([*typed, "--flag"], PaintWords)
    assert rest == ["seed=0", "--flag"]
    assert words == PaintWords(
        wall=("north", "a, b"), colour=Colour.green, tools=("roller", "brush"), coats=3, litres=0.1, dry=True
    )


def test_an_empty_word_counts_as_left_out():
    assert read_words(["wall=north", "output=", "coats="], PaintWords)[0] == PaintWords(wall=("north",))


FAULTS = {
    "colour=rde": "colour: there is no 'rde'.\n    Did you mean 'red'? Choices: red, green.",
    "tools=brush,rolle": "tools: there is no 'rolle'.\n    Did you mean 'roller'?",
    "coats=4": "coats: '4' is not a whole number from 1 to 3.",
    "litres=nan": "litres: 'nan' is not a number, 0 or more.",
    "dry=maybe": "dry: 'maybe' is not true or false.",
    "coat=1": "coat: there is no such word.\n    Did you mean 'coats'?",
    "output=a output=b": "output: was given 2 times: a, b.",
}


def test_all_faults_come_together():
    with pytest.raises(FaultyConfigError) as raised:
        read_words([word for words in FAULTS for word in words.split()], PaintWords)
    message = str(raised.value)
    assert [fault for fault in (*FAULTS.values(), "wall: is missing.") if fault not in message] == []
    assert message.startswith("8 faults")


def test_a_verb_may_take_no_overrides():
    with pytest.raises(FaultyConfigError, match=r"2 faults(?s:.*)seed: there is no such word(?s:.*)walls: there is no such word"):
        read_words(["wall=x", "seed=0", "walls=y"], PaintWords, overrides=False)


def test_a_key_of_the_config_is_no_misspelling():
    assert read_words(["wall=x", "optimizer=sgd", "data.path=x", "output.x=1"], PaintWords)[1] == [
        "optimizer=sgd",
        "data.path=x",
        "output.x=1",
    ]


def test_the_help_lists_meaning_bounds_and_default():
    described = dict(line.split(maxsplit=1) for line in help_of(PaintWords).splitlines())
    assert described["wall="] == "what is painted (may be repeated)"
    assert described["tools="] == "in their order (brush or roller, several as a,b; default brush)"
    assert described["coats="] == "number of coats (whole number from 1 to 3; default 2)"
    assert described["litres="] == "of MLflow paint (number, 0 or more)"
    assert described["output="] == "file of a picture"


@pytest.mark.parametrize("verb", VERBS)
def test_every_word_has_a_meaning(verb):
    module = import_module(f"fer_ablate.commands.{verb}")
    known = words_of(getattr(module, VERBS[verb]))
    assert [name for name, word in known.items() if not word.meaning] == []
    assert "{words}" in module.USAGE


def test_a_path_is_read_with_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    words, _ = read_words(["wall=~/x", "output=~/t.tex"], PaintWords)
    assert (words.wall, words.output) == (("~/x",), Path("/home/me/t.tex"))


def test_a_user_without_home_stays_a_name():
    words, _ = read_words(["wall=x", "output=~no.such.user/t.tex"], PaintWords)
    assert words.output == Path("~no.such.user/t.tex")
