"""Digests of the code that decides a result, and the table that says which of them compute the same."""

import subprocess
from pathlib import Path

import pytest

from fer_ablate.config import behaviour as module
from fer_ablate.config.behaviour import PACKAGE, behaviour, code_digest, covered_files, known_behaviours, plugin_files, tokens_of

SAMPLE = '''
"""A module."""

from math import (
    pi,
)


class Circle:  # round
    """A circle."""

    radius: float = 1.0
    """In metres."""

    def text(self, unit):
        """Say how large it is."""
        return f"{self.radius:>{8}} {unit!r} {{}}" + rf'\\d {"a" + f"{pi}"}'
'''


@pytest.fixture
def import_path(tmp_path, monkeypatch):
    """A folder from which plugins are imported."""
    monkeypatch.syspath_prepend(tmp_path)
    module._code_digest.cache_clear()
    yield tmp_path
    module._code_digest.cache_clear()


def test_comments_docstrings_and_layout_are_no_tokens():
    plain = "def f(a):\n  return a+1"
    assert tokens_of('def f(a):\n    """Add one."""\n    # why\n\n    return a + 1\n') == tokens_of(plain)
    assert tokens_of("def f(a):\n  return a+2") != tokens_of(plain)


def test_blocks_are_tokens():
    assert tokens_of("if a:\n  b()\n  c()\n") != tokens_of("if a:\n  b()\nc()\n")


def test_formatted_strings_are_one_token_each():
    """Python 3.12 takes them apart; these are the tokens that 3.11, 3.12 and 3.13 all give."""
    tokens = tokens_of(SAMPLE).splitlines()
    assert [text for text in tokens if "{" in text] == ['f"{self.radius:>{8}} {unit!r} {{}}"', 'rf\'\\d {"a" + f"{pi}"}\'']
    assert not [text for text in tokens if "circle" in text or "metres" in text]


def other_pythons():
    found = [*Path("/usr/bin").glob("python3.1[1-9]"), *Path.home().glob(".pyenv/versions/3.1[1-9].*/bin/python")]
    return sorted({str(path.resolve()): path for path in found}.values())


@pytest.mark.slow
def test_every_python_takes_the_same_digest():
    # Not `code_digest`, which would read what another Python has kept.
    code = f"import runpy; own = runpy.run_path({module.__file__!r}); print(own['_digest'](sorted(own['covered_files']())))"
    digests = {str(python): subprocess.check_output([python, "-I", "-c", code], text=True).strip() for python in other_pythons()}
    assert set(digests.values()) <= {code_digest()}, digests


def test_the_digest_is_kept_until_a_file_changes(tmp_path, monkeypatch):
    package = tmp_path / "package"
    (package / "training").mkdir(parents=True)
    (package / "training" / "run.py").write_text("a = 1\n")
    (package / "data").mkdir()
    (package / "data" / "load.py").write_text("b = 1\n")
    monkeypatch.setattr(module, "PACKAGE", package)
    monkeypatch.setattr(module, "cache_from_source", lambda file: str(tmp_path / "kept" / "behaviour.pyc"))
    (tmp_path / "kept").mkdir()
    first = module._package_digest()
    monkeypatch.setattr(module, "_digest", lambda files: pytest.fail("read again"))
    assert module._package_digest() == first
    monkeypatch.undo()
    monkeypatch.setattr(module, "PACKAGE", package)
    monkeypatch.setattr(module, "cache_from_source", lambda file: str(tmp_path / "kept" / "behaviour.pyc"))
    (package / "data" / "load.py").write_text("b = 1000\n")
    assert module._package_digest() != first
    (tmp_path / "kept" / "behaviour.digest").write_text("damaged")
    assert module._package_digest() != first


def test_the_digest_covers_what_a_run_imports():
    names = {str(file.relative_to(PACKAGE)) for file in covered_files()}
    assert {"training/run.py", "training/module.py", "data/ops/geometry.py", "models/build.py", "optim/losses.py"} <= names
    assert "training/bench.py" not in names
    assert not [name for name in names if name.startswith(("config/", "report/", "commands/"))]


def test_this_code_has_a_behaviour():
    assert code_digest() in known_behaviours(), "run `nox -s behaviour`, which tries the golden runs and lists the digest"


def test_digests_of_one_behaviour_share_a_key():
    first_edition = "3648f38469397519"
    assert behaviour(first_edition) == behaviour("bc07dabd94242589") == "behaviour 1"
    assert behaviour("0123456789abcdef") == "0123456789abcdef"
    assert behaviour(f"{first_edition}+fedcba9876543210") == "behaviour 1+fedcba9876543210"


def test_a_plugins_code_counts(import_path):
    (import_path / "my_nets.py").write_text("A = 1\n")
    first = code_digest(["my_nets"])
    (import_path / "my_nets.py").write_text("A = 2\n")
    assert code_digest(["my_nets"]) == first  # a process runs the code that it imported
    module._code_digest.cache_clear()  # as in another process
    assert len({code_digest(), first, code_digest(["my_nets"])}) == 3


def test_a_plugins_helpers_count(import_path):
    package = import_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("from . import inner\n")
    (package / "inner.py").write_text("import my_table\n")
    (import_path / "my_table.py").write_text("import torch, json\n")
    (import_path / "my_nets.py").write_text("def late():\n    import my_package\n")
    (import_path / "unused.py").write_text("")
    names = {str(file.relative_to(import_path)) for file in plugin_files(["my_nets"])}
    assert names == {"my_nets.py", "my_package/__init__.py", "my_package/inner.py", "my_table.py"}


def test_a_plugin_that_is_missing_has_no_files(import_path):
    assert plugin_files(["no_such_package"]) == set()


def test_recording_a_digest_keeps_or_raises_the_behaviour(tmp_path, monkeypatch):
    table = tmp_path / "behaviours.json"
    table.write_text('{"behaviours": {"1": "first"}, "digests": {}}')
    monkeypatch.setattr(module, "TABLE", table)
    assert "now listed as behaviour 1." in module.record()
    assert "is behaviour 1 already." in module.record()
    assert "now listed as behaviour 2." in module.record("losses are divided by images")
    known_behaviours.cache_clear()
    assert known_behaviours() == {code_digest(): 2}
    known_behaviours.cache_clear()


def test_a_library_counts_by_its_release():
    digest = code_digest(["torch"])
    assert digest != code_digest(["torchmetrics"])
    assert digest.startswith(code_digest() + "+")
    assert plugin_files(["torch"]) == set()
