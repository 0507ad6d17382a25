"""Interpolations in the overrides of a study's rows: they are left to the runs, which alone know their seed."""

import re
from contextlib import suppress
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

TEXTS = ("baseline", "label", "start_from")
"""Keys of a study and of its rows that are labels, which may be made of overrides."""

OF_OVERRIDES = ("base", "overrides", "one_factor", "zipped", "crossed", "exclude", "average_of")
"""Keys that become overrides, or are about them."""

INTERPOLATION = re.compile(r"(?<!\\)\$\{")
"""The beginning of an interpolation that is not escaped."""


def with_texts_of_rows(tree: DictConfig) -> DictConfig:
    """The config with interpolations in overrides of a study as text: what `${seed}` means, each run of a row knows by itself."""
    if tree.study is None:
        return tree
    tree = tree.copy()
    OmegaConf.set_struct(tree, False)
    for part in (tree.study, *(() if OmegaConf.is_interpolation(tree.study, "rows") else tree.study.rows)):
        for name, node in cast(dict[str, Any], OmegaConf.to_container(part, resolve=False, enum_to_str=True)).items():
            # A whole list may be an interpolation too, which leads to other lists of the file.
            escaped = _escaped(node) if name in TEXTS or (name in OF_OVERRIDES and not isinstance(node, str)) else node
            # What is malformed stays so, and is a fault when the study is read.
            with suppress(OmegaConfBaseException):
                if escaped != node:
                    part[name] = escaped
    return tree


def _escaped(node: Any) -> Any:
    """Text, or a list or mapping of it, that resolving gives back as it is."""
    if isinstance(node, dict):
        return {name: _escaped(one) for name, one in node.items()}
    if isinstance(node, list):
        return [_escaped(one) for one in node]
    return INTERPOLATION.sub(r"\\\g<0>", node) if isinstance(node, str) else node
