"""The package reads in the order the data flows: a module imports only from rows above its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fer_ablate

PACKAGE = Path(fer_ablate.__file__).parent
ROWS = (
    ("labels", "errors", "sizes", "metrics"),
    ("config",),
    ("data", "models", "optim"),
    ("training",),
    ("tracking",),
    ("study",),
    ("judgement",),
    ("search", "ensemble"),
    ("report", "inference"),
    ("explain",),
    ("cli",),
    ("execution",),
    ("commands", "api", "__main__"),
)
ROW_OF = {name: number for number, names in enumerate(ROWS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fer_ablate"):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("fer_ablate.")]
        yield from (name.split(".")[1] for name in names)


@pytest.mark.parametrize(
    "path", [file for file in FILES if file != PACKAGE / "__init__.py"], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_imports_point_only_to_earlier_rows(path):
    own = part(path)
    assert own in ROW_OF, f"{own} has no row; give it one here and in the design"
    for name in imported_parts(path):
        assert name == own or ROW_OF[name] < ROW_OF[own] or ROW_OF[own] == len(ROWS) - 1, f"{path} imports {name}"


def test_config_loads_without_torch():
    code = "import sys; from fer_ablate.config import binding, diagnosis, key; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_there_are_no_grab_bags():
    assert not {path.stem for path in FILES} & {"utils", "util", "common", "helpers", "misc"}
