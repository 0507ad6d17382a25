import re
from dataclasses import replace

import pytest
import yaml

from fer_ablate.config.compose import composed, composer, flat, from_yaml, to_config, to_yaml
from fer_ablate.config.conf_files import conf_dir
from fer_ablate.training.checks import run_faults

GROUPS = ("augment", "data", "experiment", "loss", "model", "optimizer", "scheduler", "tracking", "trainer")
FILES = sorted(file for group in GROUPS for file in (conf_dir() / group).glob("*.yaml"))
STUDIES = sorted((conf_dir() / "study").rglob("*.yaml"))
SWEEPERS = sorted((conf_dir() / "hydra").rglob("*.yaml"))
NEEDS = {
    "data/folder": ["data.path=."],
    "data/ferplus": ["data.path=."],
    "data/fer2013": ["data.path=."],
    "model/vgg_fer": ["augment=crop40"],
    "trainer/ddp": ["trainer.accelerator=cpu"],
}
WITHOUT_FILES = ("data.path", "data.ferplus_path", "trainer.accelerator")


def test_every_file_of_conf_is_tried():
    assert len(FILES) + len(STUDIES) + len(SWEEPERS) == len(list(conf_dir().rglob("*.yaml"))) - 1  # all but config.yaml


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_each_file_composes_into_a_run_without_faults(file):
    name = f"{file.parent.name}/{file.stem}"
    with composer():
        config = to_config(composed([f"{file.parent.name}={file.stem}", *NEEDS.get(name, [])]))
    assert [str(fault) for fault in run_faults(config) if fault.key not in WITHOUT_FILES] == []


@pytest.mark.parametrize("file", [*FILES, *STUDIES, *SWEEPERS], ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_each_file_has_a_header_and_its_command(file):
    lines = [line for line in file.read_text().splitlines() if not line.startswith("# @package")]
    assert lines[0].startswith("# ")
    assert re.match(r"# Run: (FER_ABLATE_DATA=\S.* )?python -m fer_ablate ", lines[1])


@pytest.mark.parametrize("file", [*FILES, *STUDIES], ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_no_file_names_code(file):
    assert "_target_" not in file.read_text()
    assert "plugins" not in yaml.safe_load(file.read_text())


def test_a_config_survives_the_trip_through_yaml():
    with composer():
        config = to_config(composed(["experiment=vggnet", "seed=3", "data.drop=[blank]"]))
    assert from_yaml(to_yaml(config)) == config
    assert from_yaml(to_yaml(replace(config, seed=4))) != config


def test_flat_keeps_lists_whole():
    assert flat({"a": {"b": 1, "c": [{"d": 2}]}, "e": None}) == {"a.b": 1, "a.c": [{"d": 2}], "e": None}


def test_the_papers_differ_where_they_say_they_do():
    with composer():
        pisa, vggnet = (to_config(composed([f"experiment={name}"])) for name in ("pisa", "vggnet"))
    assert (pisa.optimizer["name"], pisa.trainer.batch_size, pisa.loss.class_weight.name) == ("adam", 64, "balanced")
    assert (vggnet.optimizer["momentum"], vggnet.scheduler["factor"], vggnet.trainer.max_epochs) == (0.9, 0.75, 300)
