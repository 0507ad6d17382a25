"""docs/schema/ is what the schema says, takes every file of conf/, and refuses what the program refuses."""

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fer_ablate.config.conf_files import conf_dir
from fer_ablate.config.editor_schema import schemas

jsonschema = pytest.importorskip("jsonschema")
WRITTEN = Path(__file__).parents[2] / "docs" / "schema"
SCHEMAS = schemas()


def problems(group, content):
    """What an editor would underline."""
    found = jsonschema.Draft7Validator(SCHEMAS[group]).iter_errors(content)
    return [f"{'.'.join(map(str, one.absolute_path))}: {one.message}" for one in found]


def test_the_written_schemas_are_current():
    written = {file.stem: json.loads(file.read_text()) for file in WRITTEN.glob("*.json")}
    assert written == SCHEMAS, "run: python -m fer_ablate.config.editor_schema docs/schema"


@pytest.mark.long
@pytest.mark.parametrize("group", [name for name in SCHEMAS if name != "config"])
def test_every_file_of_a_group_is_taken(group):
    files = sorted((conf_dir() / group).rglob("*.yaml"))
    assert files
    for file in files:
        assert problems(group, OmegaConf.to_container(OmegaConf.load(file))) == [], file


def test_the_primary_config_is_taken():
    assert problems("config", OmegaConf.to_container(OmegaConf.load(conf_dir() / "config.yaml"))) == []


@pytest.mark.parametrize(
    ("group", "content", "place"),
    [
        ("trainer", {"max_epoch": 3}, "max_epoch"),
        ("trainer", {"max_epochs": 0}, "max_epochs"),
        ("trainer", {"max_epochs": "many"}, "max_epochs"),
        ("loss", {"name": "focall"}, "name"),
        ("model", {"stages": [{"block": "convv"}]}, "stages.0.block"),
        ("study", {"seeds": 3}, "seeds"),
        ("study", {"only": "failed"}, "only"),
        ("experiment", {"data": {"roles": "offical"}}, "data.roles"),
    ],
)
def test_what_is_wrong_is_found(group, content, place):
    (problem,) = problems(group, content)
    assert place in problem


@pytest.mark.parametrize(
    ("group", "content"),
    [
        ("trainer", {"max_epochs": "${seed}"}),
        ("loss", {"name": "own_parts.Loss", "arguments": {"x": 1}}),
        ("optimizer", {"name": "sgd", "lr": 0.1, "own": 2}),
        ("experiment", {"hydra": {"sweeper": {"params": {"optimizer.lr": "1,2"}}}, "defaults": [{"override /model": "pisa"}]}),
    ],
)
def test_what_is_right_is_not_underlined(group, content):
    assert problems(group, content) == []
