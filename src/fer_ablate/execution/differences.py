"""The settings of runs on disk, and what differs between them."""

from collections.abc import Mapping, Sequence
from typing import Any

from fer_ablate.config.compose import flat, from_yaml, plain
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader


def stored_settings(folder: RunFolder, header: RunHeader) -> dict[str, Any]:
    """Dotted key -> value of every setting that can change the result of a run.

    Those of runs of the first versions are in their configs alone.
    """
    if header.settings:
        return dict(header.settings)
    try:
        return flat(plain(from_yaml(folder.config_yaml)))
    except Exception:  # a config of another version may have other keys; what was typed is on record all the same
        return dict(header.changed)


def side_by_side(values: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Every name -> its value in each mapping, in their order; None where a mapping has none."""
    names = dict.fromkeys(name for one in values for name in one)
    return {name: [one.get(name) for one in values] for name in names}


def differing(values: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The names whose values differ -> their values.

    >>> differing([{"a": 1, "stages": [{"channels": 8}]}, {"a": 1, "stages": [{"channels": 16}]}])
    {'stages[0].channels': [8, 16]}
    """
    return {key: row for name, found in side_by_side(values).items() for key, row in _differences(name, found).items()}


def _differences(name: str, values: Sequence[Any]) -> dict[str, list[Any]]:
    """What differs in one value: in mappings, and in lists of equal length, only their parts that do."""
    # Compared as text: one side was JSON, which knows no tuples.
    if len({str(value) for value in values}) < 2:
        return {}
    if all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        inner = [{f"[{place}]": part for place, part in enumerate(value)} for value in values]
    elif all(isinstance(value, Mapping) for value in values):
        inner = [{f".{key}": part for key, part in value.items()} for value in values]
    else:
        return {name: list(values)}
    parts = side_by_side(inner).items()
    return {key: row for suffix, found in parts for key, row in _differences(name + suffix, found).items()}
