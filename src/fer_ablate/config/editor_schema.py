"""Writes docs/schema/, by which editors complete and check YAML: `python -m fer_ablate.config.editor_schema docs/schema`."""

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from omegaconf import MISSING

from fer_ablate.config.bounds import bare_type, field_texts
from fer_ablate.config.conf_files import conf_dir
from fer_ablate.config.constraints import Constraint
from fer_ablate.config.schema import Config, StudyConfig

STANDARD = "http://json-schema.org/draft-07/schema#"

SCALARS: dict[Any, Any] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    str: {"type": ["string", "number"]},  # OmegaConf takes a number for a text
    Any: {},
}

BOUNDS = {Ge: ("minimum", "ge"), Gt: ("exclusiveMinimum", "gt"), Le: ("maximum", "le"), Lt: ("exclusiveMaximum", "lt")}
"""Bound of a number -> its name in a JSON schema, and the attribute that holds it."""

TAKEN = {"type": "string", "pattern": r"\$\{"}
"""A value that is taken from another key, `${seed}`."""

DEFAULTS = {
    "description": "Files that this one builds on: `- other` of the same group, `- override /model: pisa` in an experiment.",
    "type": "array",
    "items": {"type": ["string", "object"]},
}
HYDRA = {"description": "Hydra's own section: hydra.mode, hydra.sweeper.params and the like.", "type": "object"}


def schemas() -> dict[str, dict[str, Any]]:
    """Name of a group -> JSON schema of its files; `config` is for a primary config of one's own."""
    hints = get_type_hints(Config, include_extras=True)
    groups = sorted(path.name for path in conf_dir().iterdir() if path.is_dir() and path.name in hints)
    found = {name: _value(hints[name], "") for name in groups if name != "study"}
    run = _section(Config)
    run["properties"] |= {"hydra": HYDRA, "study": {}}
    found |= {"study": _section(StudyConfig), "experiment": run, "config": run}
    return {name: {"$schema": STANDARD, "title": f"{name} of fer_ablate", **_as_file(one)} for name, one in found.items()}


def write_schemas(folder: Path) -> None:
    """Write each schema as `<group>.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas().items():
        (folder / f"{name}.json").write_text(json.dumps(schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _as_file(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "properties": {"defaults": DEFAULTS, **schema.get("properties", {})}}


def _section(owner: type) -> dict[str, Any]:
    """Schema of a dataclass. No key is required, since files build on each other."""
    hints, texts = get_type_hints(owner, include_extras=True), field_texts(owner)
    properties = {}
    for one in fields(owner):
        schema = _value(hints[one.name], texts[one.name].meaning)
        default = texts[one.name].default
        if default != MISSING and (default is None or isinstance(default, bool | int | float | str)):
            schema["default"] = default.name if isinstance(default, Enum) else default
        properties[one.name] = schema
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _value(annotation: Any, meaning: str) -> dict[str, Any]:
    """Schema of the values of a field, each of which may be taken from another key."""
    bare, metadata, nullable = bare_type(annotation)
    described = {"description": meaning} if meaning else {}
    plain = _plain(bare)
    plain |= {BOUNDS[type(one)][0]: getattr(one, BOUNDS[type(one)][1]) for one in metadata if type(one) in BOUNDS}
    chosen = next((one for one in metadata if isinstance(one, Constraint) and one.choices), None)
    if chosen is not None:
        # Names of a registry may be joined by dotted paths of plugins.
        paths = [{"type": "string", "pattern": r"\."}] if chosen.holds("package.Name") else []
        plain = {"anyOf": [{"enum": list(chosen.choices)}, *paths]}
    if _holds_sections(bare) and not nullable:
        return {**described, **plain}  # without alternatives, so that an editor marks the very key that is wrong
    if not plain:
        return {**described}
    return {**described, "anyOf": [plain, TAKEN, *([{"type": "null"}] if nullable else [])]}


def _holds_sections(bare: Any) -> bool:
    return is_dataclass(bare) or (get_origin(bare) is list and is_dataclass(get_args(bare)[0]))


def _plain(bare: Any) -> dict[str, Any]:
    if bare in SCALARS:
        return dict(SCALARS[bare])
    if isinstance(bare, type) and issubclass(bare, Enum):
        return {"enum": list(bare.__members__)}
    if isinstance(bare, type) and is_dataclass(bare):
        return _section(bare)
    inner = get_args(bare)
    if get_origin(bare) in (Union, UnionType):
        return {"anyOf": [_plain(one) for one in inner]}
    if get_origin(bare) is list:
        return {"type": "array", "items": _value(inner[0], "")}
    if get_origin(bare) is dict or (isinstance(bare, type) and issubclass(bare, Mapping)):
        return {"type": "object"}
    return {}


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schema"))
