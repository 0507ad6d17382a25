"""Interpolations in the overrides of a study's rows: they are left to the runs, which alone know their seed."""

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

OF_OVERRIDES = ("base", "overrides", "one_factor", "zipped", "crossed")
"""Keys of a study and of its rows that become overrides."""

INTERPOLATION = re.compile(r"(?<!\\)\$\{")
"""The beginning of an interpolation that is not escaped."""


def with_texts_of_rows(tree: DictConfig) -> DictConfig:
    """The config with interpolations in overrides of a study as text: what `${seed}` means, each run of a row knows by itself."""
    if tree.study is None:
        return tree
    tree = tree.copy()
    OmegaConf.set_struct(tree, False)
    for part in (tree.study, *(() if OmegaConf.is_interpolation(tree.study, "rows") else tree.study.rows)):
        for name in (name for name in OF_OVERRIDES if name in part and not OmegaConf.is_interpolation(part, name)):
            written = part[name]
            if OmegaConf.is_config(written):
                part[name] = _escaped(OmegaConf.to_container(written, resolve=False))
    return tree


def _escaped(node: Any) -> Any:
    """Text, or a list or mapping of it, that resolving gives back as it is."""
    if isinstance(node, dict):
        return {name: _escaped(one) for name, one in node.items()}
    if isinstance(node, list):
        return [_escaped(one) for one in node]
    return INTERPOLATION.sub(r"\\\g<0>", node) if isinstance(node, str) else node
