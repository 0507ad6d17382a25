"""Reads YAML that others may have written: plain values within limits, or a message that names file, line and fault."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_ablate.errors import UserError, first_line

T = TypeVar("T")

HARMLESS = {
    "_target_": ("optuna.samplers.", "optuna.pruners.", "hydra_plugins.", "hydra._internal.core_plugins."),
    "class": ("logging.StreamHandler", "logging.FileHandler", "logging.Formatter"),
    "()": (),
}
"""Key that names something to call -> beginnings of what a file may name there."""

MOST_BYTES = 1_000_000
"""Of a file; the largest study that comes with the package has 3,000."""

MOST_VALUES = 10_000
"""Scalars, lists and mappings of a file, with each alias counted as all that it stands for; OmegaConf 2.4 reads no more."""

DEEPEST = 50
"""Lists and mappings within each other."""

PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))
"""Tags of plain values; any other one names a type of some program."""

LONG_NUMBER = re.compile(r"[-+]?\d[\da-fox_:.]{400,}", re.IGNORECASE)
"""A number that no setting has: Python writes none of more than 4,300 digits, and takes long for those that it reads."""

# The parser in C reads a config ten times as fast; not every build of PyYAML has it.
_Parser: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(file: Path) -> DictConfig | ListConfig:
    """The content of a YAML file.

    Raises:
        UserError: the file cannot be read, is no YAML, or exceeds the limits.
    """
    return parse_yaml(read_text(file), str(file))


def read_text(file: Path) -> str:
    """The text of a YAML file, or as much of it as shows that it is too long.

    Raises:
        UserError: the file cannot be read, or is no UTF-8 text.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}. Name another file, or have its owner let you read it.") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{file}, line {line}: not UTF-8 text ({error.reason}). Save the file as UTF-8.") from error


def parse_yaml(text: str, source: str) -> DictConfig | ListConfig:
    """The content of a YAML text as a config.

    Args:
        text: the whole text.
        source: where it comes from, for the message.

    Raises:
        UserError: it is no YAML with a mapping or list, or exceeds the limits.
    """
    return _parsed(text, source, lambda: OmegaConf.load(io.StringIO(text)))


def plain_yaml(text: str, source: str) -> Any:
    """The content of a YAML text as plain values, in a tenth of the time; raises as `parse_yaml`."""
    return _parsed(text, source, lambda: yaml.load(text, _Parser))


def named_code(content: Any) -> str:
    """What a file names to be called: for Hydra (`_target_`), or for Python's logging (`class`, `()`). Empty if nothing.

    Samplers of Optuna and the launchers that Hydra knows are chosen in this way, and do nothing else.
    """
    if isinstance(content, list):
        return next(filter(None, map(named_code, content)), "")
    if not isinstance(content, dict):
        return ""
    for key, value in content.items():
        harmless = HARMLESS.get(key)
        if harmless is not None and isinstance(value, str) and not (value.startswith(harmless) and "${" not in value):
            return f"{key}: {value}"
        if inner := named_code(value):
            return inner
    return ""


def _parsed(text: str, source: str, parse: Callable[[], T]) -> T:
    if len(text) > MOST_BYTES:
        raise UserError(f"{source}: larger than {MOST_BYTES:,} bytes, which no config is. Name another file.")
    try:
        _check_limits(text, source)
        return parse()
    except yaml.MarkedYAMLError as error:
        place = f", line {error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise UserError(f"{source}{place}: not valid YAML, {error.problem or error.context}. Mend it there.") from error
    except UserError:
        raise
    # What the constructors of numbers raise is a ValueError; OmegaConf's own error for a text or a number alone is an OSError.
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError, KeyError, OSError) as error:
        raise UserError(
            f"{source}: not a YAML file of keys and values ({first_line(error)}). Mend it, or name another file."
        ) from error


def _check_limits(text: str, source: str) -> None:
    """Refuse foreign types, aliases that expand without end, and nesting that exhausts the stack.

    Events are read before anything is built of them: a file of 300 bytes can stand for a billion values.
    """
    sizes: dict[str | None, int] = {}  # anchor -> number of values that an alias for it stands for
    open_nodes: list[tuple[str | None, int]] = []  # anchor of each list or mapping that is not closed yet, and values before it
    values = 0
    for event in _events(text):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in (anchor for anchor, _ in open_nodes):
                raise UserError(f"{source}, line {line}: *{event.anchor} stands within itself. Write its values out.")
            values += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            tag = getattr(event, "tag", None)
            if tag is not None and tag not in (*PLAIN_TAGS, "!"):
                name = tag.replace("tag:yaml.org,2002:", "!!")
                raise UserError(f"{source}, line {line}: the tag {name} is not read, only plain values are. Remove it.")
            if isinstance(event, yaml.ScalarEvent):
                if event.implicit[0] and LONG_NUMBER.fullmatch(event.value):
                    raise UserError(f"{source}, line {line}: a number of {len(event.value):,} digits. Write a shorter one.")
                values += 1
                sizes |= {event.anchor: 1} if event.anchor else {}
            else:
                open_nodes.append((event.anchor, values))
                values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes |= {anchor: values - before} if anchor else {}
        if len(open_nodes) > DEEPEST:
            raise UserError(f"{source}, line {line}: more than {DEEPEST} lists and mappings within each other. Write it flat.")
        if values > MOST_VALUES:
            raise UserError(f"{source}, line {line}: stands for more than {MOST_VALUES:,} values. Make it smaller.")


def _events(text: str) -> Iterator[Any]:  # each part of an event may be absent, which those of whole files are not
    loader = _Parser(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()
