"""Faults of a study's file as it is written, before its values are taken for what the schema says."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import yaml
from omegaconf import OmegaConf

from fer_ablate.config.schema import StudyConfig
from fer_ablate.config.yaml_files import plain_yaml, read_text
from fer_ablate.errors import Fault, UserError

Node = yaml.Node

TEXTS = ("label", "start_from", "baseline")
"""Keys whose values are labels, or one."""


def written_faults(file: Path) -> list[Fault]:
    """Lists and mappings that are none, and labels that YAML reads as another text than the one written, such as `off`.

    Args:
        file: of the study; one that cannot be read has no faults here, since whoever reads it for its rows says so.
    """
    try:
        text = read_text(file)
        content = plain_yaml(text, str(file))
    except UserError:
        return []
    if not isinstance(content, dict):
        return []
    if faults := list(_shape_faults(content)):
        return faults
    return list(dict.fromkeys(_label_faults(yaml.compose(text, yaml.SafeLoader))))


def _shape_faults(content: Mapping[Any, Any]) -> Iterator[Fault]:
    for name, hint in get_type_hints(StudyConfig).items():
        value, kind = content.get(name), get_origin(hint)
        if kind is list and name in content and not isinstance(value, list):
            yield Fault(f"study.{name}", f"{value!r} is no list.", f"Write {name}: [{_short(value)}].")
        elif kind is dict and name in content and not isinstance(value, dict):
            yield Fault(f"study.{name}", f"{value!r} is no mapping of keys to values.", f"Write {name}: {{key: value}}.")


def _label_faults(node: Node | None) -> Iterator[Fault]:
    """Faults of a mapping of the file and of all within it."""
    if isinstance(node, yaml.SequenceNode):
        for part in node.value:
            yield from _label_faults(part)
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        if key.value == "published" and isinstance(value, yaml.MappingNode):
            yield from (fault for label, _ in value.value for fault in _label_fault("published", label, of_key=True))
        elif key.value in TEXTS:
            yield from _label_fault(key.value, value)
        elif key.value == "average_of" and isinstance(value, yaml.SequenceNode):
            yield from (fault for label in value.value for fault in _label_fault("average_of", label))
        yield from _label_faults(value)


def _label_fault(name: str, node: Node, of_key: bool = False) -> Iterator[Fault]:
    """The fault of a label that is no text for YAML, and would be another one.

    Args:
        name: key that it belongs to.
        node: the label.
        of_key: whether it is a key itself, which has to be a text whatever it would be.
    """
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:  # in quotes it is a text
        return
    value = _plain_value(node.value)
    if value is not None and not isinstance(value, str) and (of_key or str(value) != node.value):
        problem = f"line {node.start_mark.line + 1}: YAML reads {name}: {node.value} as {value!r}, not as a text."
        yield Fault("study.rows", problem, f"Put it in quotes: '{node.value}'.")


def _plain_value(text: str) -> Any:
    """What a text without quotes stands for: OmegaConf reads more of them as numbers than YAML does, such as 1e-3."""
    read = OmegaConf.to_container(OmegaConf.create(f"read: {text}"))
    return read["read"] if isinstance(read, dict) else None


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else "..."
