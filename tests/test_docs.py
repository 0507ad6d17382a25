"""The documents name modules and names that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src/fer_ablate"
GLOSSARY = (ROOT / "docs/glossary.md").read_text()
PATHS = sorted(set(re.findall(r"`([\w/]+(?:\.py|/))`", GLOSSARY)))
NAMED = re.findall(r"`([\w/]+\.py)` \(`(\w+)`\)", GLOSSARY)


def test_the_glossary_names_modules():
    assert len(PATHS) > 30


@pytest.mark.parametrize("path", PATHS)
def test_a_path_of_the_glossary_exists(path):
    assert (ROOT if path.startswith("conf/") else PACKAGE).joinpath(path).exists()


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_name_of_the_glossary_is_defined_there(path, name):
    assert re.search(rf"^class {name}\b", (PACKAGE / path).read_text(), re.MULTILINE)
