"""The words of a verb, such as `format=onnx`: read from a dataclass, checked together, and listed by `--help`.

A verb has one frozen dataclass with a field for each word, written like the schema of a config (`config.bounds`): bounds beside
the type, and the meaning as a comment, which the help quotes.

    images: Annotated[int, Ge(1)] = 512  # real images for the check

Choices are an `Enum` where the verb itself knows them, and `one_of(*registry)` where they are the names of a registry.
`tuple[str, ...]` may be given several times; a tuple of choices is one list, `methods=gradcam,saliency`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from annotated_types import Ge, Le
from pydantic import TypeAdapter, ValidationError

from fer_ablate.cli.typed import plain_place
from fer_ablate.config.bounds import bare_type, field_comments
from fer_ablate.config.constraints import Constraint
from fer_ablate.config.overrides import key_of
from fer_ablate.config.schema import Config
from fer_ablate.errors import Fault, FaultyConfigError, choices

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

W = TypeVar("W")

WIDTH = 130
"""Columns of the help, as wide as the hand-written part of it."""

GROUPS = ("experiment",)
"""Groups of files in conf/ that are no section of the config."""

MISSPELT_FROM = 0.7
"""Similarity of two names from which one is taken for a misspelling of the other, as a fraction of their letters."""

NOUNS = {int: "whole number", float: "number"}


@dataclass(frozen=True, kw_only=True)
class NoWords:
    """Words of a verb that takes overrides only."""


@dataclass(frozen=True)
class Word:
    """Everything about one word of a verb.

    Args:
        name: left of the equals sign.
        meaning: one line for the help.
        kind: type of a single value.
        lowest, highest: bounds of a number, if it has any.
        choices: names that are accepted; empty if any text is.
        many: the word takes several values.
        default: as a person would type it; empty if there is none.
    """

    name: str
    meaning: str
    kind: type
    lowest: float | None
    highest: float | None
    choices: tuple[str, ...]
    many: bool
    default: str

    @property
    def repeated(self) -> bool:
        """Whether several values are several words; names of runs and files may hold commas, so those are no list."""
        return self.many and not self.choices

    @property
    def accepted(self) -> str:
        """Values that are accepted, in words; empty if any text is."""
        if self.choices:
            return ", ".join(self.choices[:-1]) + f" or {self.choices[-1]}" + (", several as a,b" if self.many else "")
        if self.kind is bool:
            return "true or false"
        if self.kind not in NOUNS:
            return ""
        low, high = (None if bound is None else f"{bound:g}" for bound in (self.lowest, self.highest))
        if low and high:
            return f"{NOUNS[self.kind]} from {low} to {high}"
        return NOUNS[self.kind] + (f", {low} or more" if low else f", {high} or less" if high else "")

    def value_of(self, texts: Sequence[str]) -> Any:
        """Texts as they were typed -> what pydantic is to check."""
        if self.repeated:
            return texts
        if self.many:
            # Brackets are optional here, though lists of overrides need them.
            return [part.strip() for part in texts[-1].strip("[]").split(",")]
        return plain_place(self.name, texts[-1]) if self.kind is Path else texts[-1]

    def fault(self, error: "ErrorDetails") -> Fault:
        """What a person did wrong with this word."""
        if error["type"] == "missing":
            return Fault(self.name, "is missing.", f"{self.name}=<{self.meaning}>")
        given = str(error["input"])
        if self.choices:
            return Fault(self.name, f"there is no '{given}'.", choices(given, self.choices))
        return Fault(
            self.name, f"'{given}' is not a {self.accepted}." if self.kind in NOUNS else f"'{given}' is not {self.accepted}."
        )


def read_command(
    arguments: Sequence[str], words: type[W], usage: str, help_if_empty: bool = True, overrides: bool = True
) -> tuple[W, list[str]]:
    """Read the words of a verb, or print its help and leave.

    Args:
        arguments: after the verb.
        words: dataclass of the verb.
        usage: text of the help, with `{words}` where the list of words belongs.
        help_if_empty: the verb can do nothing without an argument, so none at all asks for help.
        overrides: the verb takes overrides of the config as well.

    Raises:
        SystemExit: the help was printed.
        FaultyConfigError: with every fault of the words.
    """
    if {"-h", "--help"} & set(arguments) or (help_if_empty and not arguments):
        print(usage.replace("{words}", help_of(words)))
        raise SystemExit(0)
    return read_words(arguments, words, overrides)


def read_words(arguments: Sequence[str], words: type[W], overrides: bool = True) -> tuple[W, list[str]]:
    """Separate a verb's own words from the overrides, and check all words together.

    A word without a value, as in `output=`, counts as left out: a script may pass an empty variable.

    Returns:
        The words, and all other arguments in their order.

    Raises:
        FaultyConfigError: with every fault.
    """
    known = words_of(words)
    given: dict[str, list[str]] = {}
    rest = []
    for text in arguments:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            rest.append(text)
        elif value:
            given.setdefault(name, []).append(value)
    faults = _misspelt(rest, known) if overrides else _unknown(rest, known)
    faults += [
        Fault(name, f"was given {len(texts)} times: {', '.join(texts)}.", "Give one.")
        for name, texts in given.items()
        if len(texts) > 1 and not known[name].repeated
    ]
    # A word given twice is still checked, by its last value, so that all faults come at once.
    try:
        found = TypeAdapter(words).validate_python({name: known[name].value_of(texts) for name, texts in given.items()})
    except ValidationError as error:
        faults += [known[str(one["loc"][0])].fault(one) for one in error.errors()]
    if faults:
        raise FaultyConfigError(faults)
    return found, rest


def _misspelt(rest: Sequence[str], known: Iterable[str]) -> list[Fault]:
    """Faults of arguments that resemble a word of the verb and are no key; others are left to Hydra, which knows all keys."""
    # Hydra would compare a misspelt word with keys alone, and never suggest the right word.
    keys = {*(one.name for one in fields(Config)), *GROUPS}
    names = [key_of(text) for text in rest if "=" in text]
    return [
        Fault(name, "there is no such word.", choices(name, known))
        for name in names
        if "." not in name and name not in keys and get_close_matches(name, list(known), n=1, cutoff=MISSPELT_FROM)
    ]


def _unknown(rest: Sequence[str], known: Iterable[str]) -> list[Fault]:
    """Faults of arguments of a verb that takes no overrides."""
    return [Fault(key_of(text), "there is no such word.", choices(key_of(text), known)) for text in rest]


def words_of(words: type) -> dict[str, Word]:
    """Every word of a verb's dataclass by its name."""
    hints, meanings = get_type_hints(words, include_extras=True), field_comments(words)
    return {one.name: _word(one, hints[one.name], _phrase(meanings.get(one.name, ""))) for one in fields(words)}


def help_of(words: type) -> str:
    """One entry for each word: its name, its meaning, what it accepts and its default."""
    known = words_of(words)
    margin = max((len(name) for name in known), default=0) + 2
    lines = []
    for name, word in known.items():
        facts = [word.accepted, "may be repeated" if word.repeated else "", f"default {word.default}" if word.default else ""]
        stated = "; ".join(fact for fact in facts if fact)
        text = word.meaning + (f" ({stated})" if stated else "")
        lines += wrap(text, WIDTH, initial_indent=f"{name}=".ljust(margin), subsequent_indent=" " * margin)
    return "\n".join(lines)


def _word(one: "Field[Any]", annotation: Any, meaning: str) -> Word:
    """Description of the word that a field defines."""
    kind, metadata, _ = bare_type(annotation)
    many = get_origin(kind) is tuple
    if many:
        kind, of_values, _ = bare_type(get_args(kind)[0])
        metadata += of_values
    names = next((tuple(map(str, part.choices)) for part in metadata if isinstance(part, Constraint)), ())
    if issubclass(kind, Enum):
        names = tuple(member.value for member in kind)
    lowest = next((cast(float, part.ge) for part in metadata if isinstance(part, Ge)), None)
    highest = next((cast(float, part.le) for part in metadata if isinstance(part, Le)), None)
    return Word(one.name, meaning, kind, lowest, highest, names, many, _spelled(one.default))


def _phrase(comment: str) -> str:
    """A comment as a phrase: without a full stop and a capital, but `MLflow` stays as it is."""
    text = comment.rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _spelled(default: Any) -> str:
    """A default as it would be typed."""
    if default is MISSING or default is None:
        return ""
    if isinstance(default, Enum):
        return str(default.value)
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(map(_spelled, default))
    return str(default)
