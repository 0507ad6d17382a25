"""The package reads in the order the data flows: a module imports only from rows above its own."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import fer_ablate

PACKAGE = Path(fer_ablate.__file__).parent
ROWS = (
    ("labels", "sizes", "metrics", "machine", "paths", "shell"),
    ("addresses",),
    ("errors",),
    ("extras",),
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
TESTS = sorted(Path(__file__).parent.rglob("test_*.py"))


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


def test_imports_point_only_to_earlier_rows():
    files = [file for file in FILES if file != PACKAGE / "__init__.py"]
    assert {part(file) for file in files} <= set(ROW_OF), "a part has no row; give it one here and in the design"
    upward = [
        f"{file} imports {name}"
        for file in files
        for name in imported_parts(file)
        if name != part(file) and ROW_OF[name] >= ROW_OF[part(file)]
    ]
    assert upward == []


LIGHT = """
import sys
import fer_ablate.config.compose
assert "pydantic" not in sys.modules, "compose"
import fer_ablate.config.binding, fer_ablate.config.diagnosis, fer_ablate.config.key
assert "torch" not in sys.modules, "config"
import fer_ablate.data.load, fer_ablate.data.checks, fer_ablate.data.balance
assert "torch" not in sys.modules, "data"
import fer_ablate.metrics, fer_ablate.models.checks
assert "torch" not in sys.modules, "metrics and models"
"""


def test_what_checks_a_config_loads_no_torch():
    subprocess.run([sys.executable, "-c", LIGHT], check=True)


def loaded_with(*modules):
    """Names of all modules that importing these loads, as far as files of the package say so at their top."""
    names, found = list(modules), set()
    while names:
        name = names.pop()
        path = PACKAGE.parent.joinpath(*name.split("."))
        file = next((one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()), None)
        if name not in found and file is not None:
            for node in ast.parse(file.read_text()).body:
                if isinstance(node, ast.ImportFrom):
                    names += [f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)]
                elif isinstance(node, ast.Import):
                    names += [alias.name for alias in node.names]
        found.add(name)
    return found


def test_tracking_loads_mlflow_only_on_use():
    modules = (f"fer_ablate.tracking.{name}" for name in ("recorder", "disk.run_folder", "disk.scan", "mlflow.study_runs"))
    found = loaded_with(*modules)
    assert "fer_ablate.training.result" in found
    assert not {name for name in found if name.split(".")[0] == "mlflow"}


def test_commands_and_notebook_functions_are_siblings():
    imports = {
        own: {name for file in (PACKAGE / own).rglob("*.py") for name in imported_parts(file)} for own in ("commands", "api")
    }
    assert "api" not in imports["commands"]
    assert "commands" not in imports["api"]


def test_there_are_no_grab_bags():
    assert not {path.stem for path in FILES} & {"utils", "util", "common", "helpers", "misc"}


def test_names_of_tests_have_at_most_eight_words():
    names = [(file, name) for file in TESTS for name in re.findall(r"def test_(\w+)\(", file.read_text())]
    assert [(file, name) for file, name in names if len(name.split("_")) > 8] == []
    # Of two tests with one name in a file only the second is run.
    assert [(file, name) for (file, name), count in Counter(names).items() if count > 1] == []
