"""The key of a run: a hash of everything that can change its result. Same key, same result."""

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fer_ablate.config.choices import Source
from fer_ablate.config.compose import flat, plain
from fer_ablate.config.schema import Config

IRRELEVANT = (
    "name",
    "runs_dir",
    "force",
    "data.path",
    "data.ferplus_path",
    "data.cache_dir",
    "data.download",
    "model.pretrained_path",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.strategy",
    "trainer.num_threads",
    "trainer.evaluation_batch_size",
    "trainer.profiler",
    "tracking",
    "search",
    "study",
    "init_from",
)
"""Keys, and sections by their first part, that say where and how a run happens but not what comes out of it."""

LATER: dict[str, Any] = {
    "data.columns.file": None,
    "data.columns.label": None,
    "data.columns.split": None,
    "data.columns.group": None,
    "data.size": None,
    "data.fit": "pad",
    "data.channels": None,
    "data.merge": {},
    "data.group": "auto",
    "data.test_fraction": 0.2,
    "data.folds": None,
    "data.fold": 0,
    "data.prepare": [],
}
"""Keys that came after the first runs -> the value with which all is as it was before; with it they do not enter a key."""

RESULT_CODE = ("labels.py", "metrics.py", "sizes.py", "data", "models", "optim", "training")
"""Parts of the package that decide a result; console, tracking and reports may change without making a run stale."""


SHOWN_DIGITS = 10
"""Of a run's key in folder names and on the screen."""


def short(key: str) -> str:
    """The part of a key that people see and type."""
    return key[:SHOWN_DIGITS]


def relevant(config: Config) -> dict[str, Any]:
    """The leaves of a config that can change a result, under dotted keys."""
    leaves = flat(plain(config))
    if config.data.source is not Source.synthetic:
        leaves = {key: value for key, value in leaves.items() if not key.startswith("data.synthetic")}
    return {key: value for key, value in leaves.items() if not _is_irrelevant(key) and not _as_before(key, value)}


def run_key(config: Config, data_digest: str, code_digest: str, start: str | None = None) -> str:
    """Hash of the relevant config, the data, the code and the weights to begin with; 32 hexadecimal digits.

    Args:
        config: of the run.
        data_digest: of the images.
        code_digest: of the code.
        start: identity of the weights that `init_from` names, which is the key of their run where it is one; None: they
            are drawn from the seed.
    """
    parts = [relevant(config), data_digest, code_digest, *([start] if start is not None else [])]
    content = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def code_digest(plugins: Iterable[str] = ()) -> str:
    """Hash of the code that decides a result, blind to comments, docstrings and layout; 16 hexadecimal digits.

    It is taken once per process: a file that is edited afterwards is not what this process has imported, and its runs
    must not pass for those of the new code.

    Args:
        plugins: packages of the user's own, whose code counts as well.
    """
    return _code_digest(tuple(plugins))


@cache
def _code_digest(plugins: tuple[str, ...]) -> str:
    package = Path(__file__).resolve().parents[1]
    files = [file for part in RESULT_CODE for file in _python_files(package / part)]
    for name in plugins:
        spec = find_spec(name)
        files += (
            _python_files(Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin))
            if spec and spec.origin
            else []
        )
    total = hashlib.sha256()
    for file in files:
        total.update(_meaning(file.read_text(encoding="utf-8")).encode())
    return total.hexdigest()[:16]


def _as_before(key: str, value: Any) -> bool:
    return key in LATER and value == LATER[key]


def _is_irrelevant(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in IRRELEVANT)


def _python_files(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _meaning(source: str) -> str:
    """The syntax tree without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and body
            and ast.get_docstring(node) is not None
        ):
            node.body = body[1:]
    return ast.dump(tree)
