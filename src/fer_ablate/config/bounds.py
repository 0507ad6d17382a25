"""Reads the bounds, units and meanings that a dataclass states beside its fields, and finds the values outside the bounds.

This works for the schema of a config and for any other dataclass that is written in the same way: with bounds and unit in the
metadata of the type, and the meaning as a comment.
"""

import ast
import inspect
import io
import math
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, Unit
from omegaconf import MISSING

from fer_ablate.config.constraints import Constraint
from fer_ablate.errors import Fault, choices

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

KINDS = {int: "whole number", float: "number", str: "text", bool: "true or false", Any: "number or list"}

LIMITS = {Ge: ("from", "ge"), Gt: ("above", "gt"), Le: ("up to", "le"), Lt: ("below", "lt")}
"""Bound of a number -> its words, and the attribute that holds it."""

BROKEN = {
    "greater_than_equal": ("is below", "ge"),
    "greater_than": ("is not above", "gt"),
    "less_than_equal": ("is above", "le"),
    "less_than": ("is not below", "lt"),
}
"""Name of a fault in pydantic -> its words after the value, and the name of the bound in pydantic's context."""


@dataclass(frozen=True)
class FieldText:
    """What a dataclass says about one field, in words.

    Args:
        kind: of the value, such as `whole number`.
        unit: of a number; empty without one.
        bounds: such as `above 0 and below 1`; empty without any.
        choices: the values that are allowed, where they can be listed.
        nullable: whether null is allowed.
        meaning: the comment beside the field.
        default: of the dataclass; `MISSING` where there is none.
        section: the dataclass that the field holds, alone or in a list; None for a plain value.
    """

    kind: str
    unit: str
    bounds: str
    choices: tuple[str, ...]
    nullable: bool
    meaning: str
    default: Any
    section: type | None

    @property
    def expected(self) -> str:
        """What to give, such as `a whole number of epochs from 1`."""
        if self.kind not in (KINDS[int], KINDS[float]):
            return self.bounds or f"a {self.kind}"
        of_unit = f" of {self.unit}" if self.unit not in ("", "fraction") else ""
        return f"a {self.kind}{of_unit} {self.bounds}".rstrip()


def bound_faults(section: Any, key: str = "", deep: bool = True) -> list[Fault]:
    """Find every value of a dataclass that is outside the bounds of its field.

    Args:
        section: the dataclass; its values are of the right types already, as OmegaConf leaves them.
        key: its place in the config, such as `trainer`; empty for the whole config.
        deep: whether dataclasses within it are checked as well.
    """
    from pydantic import ValidationError  # a tenth of a second, which only those who check should pay

    owner: type = type(section)
    given = {name: value for name, value in _given(section).items() if deep or not is_dataclass(getattr(section, name))}
    faults = []
    try:
        _adapter(owner).validate_python(given)
    except ValidationError as error:
        faults = [_fault(owner, detail, key) for detail in error.errors(include_url=False)]
    known = {fault.key for fault in faults}
    return [*faults, *(fault for fault in _infinite(owner, given, key) if fault.key not in known)]


def _infinite(owner: type, given: Mapping[str, Any], key: str) -> Iterator[Fault]:
    """Find the numbers without an end, which pass a bound on one side."""
    for name, value in given.items():
        text, place = field_texts(owner)[name], f"{key}.{name}".lstrip(".")
        if isinstance(value, float) and not math.isfinite(value):
            yield Fault(place, f"{value} is not finite.", f"Give {text.expected}: {_as_clause(text.meaning)}.")
        elif text.section is not None and isinstance(value, Mapping):
            yield from _infinite(text.section, value, place)
        elif text.section is not None and isinstance(value, list):
            for number, section in enumerate(value):
                yield from _infinite(text.section, section, f"{place}[{number}]")


def _as_clause(meaning: str) -> str:
    return meaning[:1].lower() + meaning[1:].rstrip(".")


@cache
def field_texts(owner: type) -> dict[str, FieldText]:
    """Name -> description of every field of a dataclass."""
    hints, meanings = get_type_hints(owner, include_extras=True), field_comments(owner)
    return {one.name: _field_text(hints[one.name], meanings.get(one.name, ""), _default(one)) for one in fields(owner)}


def bare_type(annotation: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """Split a type such as `Annotated[int, Ge(1)] | None` into `int`, its metadata, and whether it includes None."""
    metadata: tuple[Any, ...] = ()
    nullable = False
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            metadata = (*more, *metadata)
        elif get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation):
            nullable = True
            annotation = Union[tuple(part for part in get_args(annotation) if part is not NoneType)]  # noqa: UP007
        else:
            flat = (part for one in metadata for part in (one if isinstance(one, GroupedMetadata) else [one]))
            return annotation, tuple(flat), nullable


def field_comments(owner: type) -> dict[str, str]:
    """Name -> comment of each field of a dataclass: the one on its line, or else the lines directly above it."""
    found: dict[str, str] = {}
    for part in owner.__mro__[::-1]:
        found |= _own_comments(part) if is_dataclass(part) else {}
    return found


def _own_comments(owner: type) -> dict[str, str]:
    source = inspect.getsource(owner)
    comments = {
        token.start[0]: (token.string.lstrip("# "), token.line.lstrip().startswith("#"))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    for statement in definition.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            first = statement.lineno
            while comments.get(first - 1, ("", False))[1]:
                first -= 1
            lines = range(first, (statement.end_lineno or first) + 1)
            found[statement.target.id] = " ".join(comments[line][0] for line in lines if line in comments)
    return found


@cache
def _adapter(owner: type) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(owner)


def _given(section: Any) -> dict[str, Any]:
    """Values of a dataclass as plain mappings, without those that OmegaConf marks as missing."""
    return {one.name: _plain(value) for one in fields(section) if (value := getattr(section, one.name)) != MISSING}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return _given(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _fault(owner: type, detail: "ErrorDetails", key: str) -> Fault:
    value, context = detail["input"], detail.get("ctx", {})
    path = (key + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])).lstrip(".")
    text = _text_at(owner, detail["loc"])
    meaning = _as_clause(text.meaning)
    if detail["type"] in BROKEN:
        words, bound = BROKEN[detail["type"]]
        null = ", or null" if text.nullable and "null" not in meaning else ""
        return Fault(path, f"{value} {words} {_spelled(context[bound])}.", f"Give {text.expected}{null}: {meaning}.")
    if text.choices and isinstance(value, str):
        return Fault(path, f"'{value}' is not known.", choices(str(value), text.choices))
    return Fault(
        path,
        f"{value!r} is not {context.get('expected', text.expected)}.",
        f"{meaning[:1].upper()}{meaning[1:]}." if meaning else "",
    )


def _text_at(owner: Any, place: Sequence[int | str]) -> FieldText:
    """Describe the value at a place such as ("model", "stages", 0, "kernel"), which leads through dataclasses and lists."""
    text, annotation = None, owner
    for part in place:
        bare = bare_type(annotation)[0]
        if is_dataclass(bare) and isinstance(part, str):
            text, annotation = field_texts(bare)[part], get_type_hints(bare, include_extras=True)[part]  # type: ignore[arg-type]
        elif isinstance(part, int) and text is not None:
            annotation = get_args(bare)[0]
            text = _field_text(annotation, text.meaning)
    assert text is not None
    return text


def _field_text(annotation: Any, meaning: str, default: Any = MISSING) -> FieldText:
    bare, metadata, nullable = bare_type(annotation)
    constraints = [part for part in metadata if isinstance(part, Constraint)]
    limits = [_limit(part) for part in metadata if type(part) in LIMITS]
    element = next((part for part in get_args(bare) if isinstance(part, type) and issubclass(part, Enum)), bare)
    listed = tuple(element.__members__) if isinstance(element, type) and issubclass(element, Enum) else ()
    return FieldText(
        kind=_kind(bare),
        unit=next((part.unit for part in metadata if isinstance(part, Unit)), ""),
        bounds=" and ".join([*(part.expected for part in constraints if not part.choices), *limits]).replace(" and up", " up"),
        choices=listed or next((tuple(map(str, part.choices)) for part in constraints if part.choices), ()),
        nullable=nullable,
        meaning=meaning,
        default=default,
        section=next((part for part in (bare, *get_args(bare)) if isinstance(part, type) and is_dataclass(part)), None),
    )


def _default(one: "Field[Any]") -> Any:
    return one.default_factory() if one.default_factory is not NO_DEFAULT else one.default


def _limit(bound: Any) -> str:
    words, name = LIMITS[type(bound)]
    return f"{words} {_spelled(getattr(bound, name))}"


def _spelled(bound: float) -> str:
    return str(int(bound) if bound == int(bound) else bound)


def _kind(bare: Any) -> str:
    if bare in KINDS:
        return KINDS[bare]
    inner = get_args(bare)
    if get_origin(bare) in (Union, UnionType):
        return " or ".join(map(_kind, inner))
    if get_origin(bare) is list:
        return "list" if inner[0] is Any or get_origin(inner[0]) is dict else f"list of {_kind(bare_type(inner[0])[0])}s"
    if get_origin(bare) is dict or (isinstance(bare, type) and issubclass(bare, Mapping)):
        return "mapping"
    return "section" if is_dataclass(bare) else "name"
