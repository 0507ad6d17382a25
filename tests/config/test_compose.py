import re
from dataclasses import replace
from itertools import zip_longest

import pytest
import yaml

from fer_ablate.config.compose import composed, composer, flat, from_yaml, to_config, to_yaml
from fer_ablate.config.conf_files import conf_dir
from fer_ablate.training.checks import run_faults

GROUPS = ("augment", "data", "experiment", "loss", "model", "optimizer", "scheduler", "tracking", "trainer")
SHARED = ("augment", "loss", "optimizer", "scheduler", "tracking")
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
WITHOUT_FILES = ("data.path", "data.ferplus_path", "trainer.accelerator", "data.reader", "optimizer.name")


def test_every_file_of_conf_is_tried():
    found = list(conf_dir().rglob("*.yaml"))
    assert len(FILES) + len(STUDIES) + len(SWEEPERS) == len(found) - 2  # config.yaml, and hydra_choices.yaml, which it includes


def chosen_together():
    """Choices of files that together try every one of them; groups that get along share a config, which takes long to compose."""
    files = {group: [file.stem for file in FILES if file.parent.name == group] for group in GROUPS}
    shared = zip_longest(*(files[group] for group in SHARED))
    yield from ([f"{group}={name}" for group, name in zip(SHARED, names, strict=True) if name] for names in shared)
    for group in set(GROUPS) - set(SHARED):
        yield from ([f"{group}={name}", *NEEDS.get(f"{group}/{name}", [])] for name in files[group])


@pytest.mark.long
@pytest.mark.parametrize("words", sorted(chosen_together()), ids=" ".join)
def test_each_file_composes_into_a_run_without_faults(words):
    with composer():
        config = to_config(composed(words))
    assert [str(fault) for fault in run_faults(config) if fault.key not in WITHOUT_FILES] == []


def test_every_file_of_a_group_is_chosen():
    words = {word for words in chosen_together() for word in words}
    assert [file for file in FILES if f"{file.parent.name}={file.stem}" not in words] == []


def test_each_file_has_a_header_and_its_command():
    header = re.compile(r"(# @package.*\n)?# .*\n# Run: (FER_ABLATE_DATA=\S.* )?python -m fer_ablate ")
    assert [file for file in (*FILES, *STUDIES, *SWEEPERS) if not header.match(file.read_text())] == []


def test_no_file_names_code():
    texts = {file: file.read_text() for file in (*FILES, *STUDIES)}
    assert [file for file, text in texts.items() if "_target_" in text or "plugins" in yaml.safe_load(text)] == []


def test_a_config_survives_the_trip_through_yaml():
    with composer():
        config = to_config(composed(["experiment=vggnet", "seed=3", "data.drop=[blank]"]))
    assert from_yaml(to_yaml(config)) == config
    assert from_yaml(to_yaml(replace(config, seed=4))) != config
    for name in ("lr ${x}, ${seed}", r"a\${seed}", r"a\\${x", "${"):
        assert from_yaml(to_yaml(replace(config, name=name))).name == name


def test_the_home_folder_is_written_out(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    with composer():
        config = to_config(composed(["runs_dir='~/runs'", "data.cache_dir='~/cache'"]))
    assert (config.runs_dir, config.data.cache_dir) == ("/home/me/runs", "/home/me/cache")
    assert config.tracking.uri == "sqlite:////home/me/runs/mlflow.db"


def test_flat_keeps_lists_whole():
    assert flat({"a": {"b": 1, "c": [{"d": 2}]}, "e": None}) == {"a.b": 1, "a.c": [{"d": 2}], "e": None}


def test_the_papers_differ_where_they_say_they_do():
    with composer():
        pisa, vggnet = (to_config(composed([f"experiment={name}"])) for name in ("pisa", "vggnet"))
    assert (pisa.optimizer["name"], pisa.trainer.batch_size, pisa.loss.class_weight.name) == ("adam", 64, "balanced")
    assert (vggnet.optimizer["momentum"], vggnet.scheduler["factor"], vggnet.trainer.max_epochs) == (0.9, 0.75, 300)
