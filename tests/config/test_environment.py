"""`${oc.env:NAME}`: who may ask for a variable, and where its value may stand."""

import os
import pickle

import pytest

from fer_ablate.cli.run_spec import RunSpec
from fer_ablate.config import environment
from fer_ablate.config.compose import composed, composer, from_yaml, to_config, to_yaml
from fer_ablate.config.environment import ALLOWED, allow_typed
from fer_ablate.errors import UserError

PATH = "data.path=${oc.env:LAB_DATA}"


@pytest.fixture(autouse=True)
def lab(monkeypatch):
    monkeypatch.setenv("LAB_DATA", "/lab/hunter2/faces")
    monkeypatch.setenv(ALLOWED, "")
    monkeypatch.setattr(environment, "_read", {})


def config_of_words(*words):
    with composer():
        return to_config(composed(words))


def test_files_may_not_read_the_environment():
    with pytest.raises(UserError, match=r"(?s)data\.path: A file asks for the variable LAB_DATA.*FER_ABLATE_ENV=LAB_DATA"):
        config_of_words(PATH)


def test_what_was_typed_is_read():
    allow_typed([PATH])
    assert config_of_words(PATH).data.path == "/lab/hunter2/faces"


def test_a_listed_variable_is_read(monkeypatch):
    monkeypatch.setenv(ALLOWED, "OTHER,LAB_DATA")
    assert config_of_words(PATH).data.path == "/lab/hunter2/faces"


@pytest.mark.parametrize("key", ["name", "tracking.experiment", "tracking.register"])
def test_no_variable_names_a_result(key):
    allow_typed([PATH])
    with pytest.raises(UserError, match=rf"{key}: takes the variable LAB_DATA") as refused:
        config_of_words(f"{key}=${{oc.env:LAB_DATA}}")
    assert "hunter2" not in str(refused.value)


def test_a_record_has_the_name_of_the_variable():
    allow_typed([PATH])
    stored = to_yaml(config_of_words(PATH))
    assert "hunter2" not in stored
    assert "path: ${oc.env:LAB_DATA}" in stored
    assert from_yaml(stored).data.path == "/lab/hunter2/faces"


def test_a_home_folder_hides_no_variable(monkeypatch):
    monkeypatch.setenv("LAB_DATA", "~/hunter2")
    monkeypatch.setenv("HOME", "/home/me")
    allow_typed([PATH])
    config = config_of_words("runs_dir=${oc.env:LAB_DATA}/runs")
    assert config.runs_dir == "/home/me/hunter2/runs"
    assert "runs_dir: ${oc.env:LAB_DATA}/runs" in to_yaml(config)


def test_a_pickled_request_has_names_of_variables():
    allow_typed([PATH])
    request = pickle.dumps(RunSpec(config_of_words(PATH), "all"))
    assert b"hunter2" not in request
    assert pickle.loads(request).config.data.path == "/lab/hunter2/faces"


def test_a_record_is_read_without_the_variable(monkeypatch):
    allow_typed([PATH])
    stored = to_yaml(config_of_words(PATH))
    monkeypatch.setenv(ALLOWED, "")
    assert from_yaml(stored).data.path == "${oc.env:LAB_DATA}"


def test_a_record_of_a_stranger_reads_nothing():
    stored = to_yaml(config_of_words()).replace("name: null", "name: ${oc.env:LAB_DATA}")
    assert from_yaml(stored).name == "${oc.env:LAB_DATA}"


def test_an_assembled_name_of_the_resolver_is_refused():
    stored = to_yaml(config_of_words()).replace("name: null", "name: env")
    with pytest.raises(UserError, match="asks for the variable LAB_DATA"):
        from_yaml(stored.replace("init_from: null", "init_from: ${oc.${name}:LAB_DATA}"))


@pytest.mark.parametrize("given", ["", " "])
def test_a_blank_store_is_none(monkeypatch, given):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert config_of_words().tracking.uri == "sqlite:///runs/mlflow.db"


@pytest.mark.skipif(os.access("/sys", os.W_OK), reason="no folder here is read-only")
def test_a_read_only_home_holds_no_cache(monkeypatch):
    monkeypatch.delenv("FER_ABLATE_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/sys")
    assert config_of_words().data.cache_dir == "./.cache/fer_ablate"


def test_a_password_is_no_part_of_the_config(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@host:9")
    assert config_of_words().tracking.uri == "http://host:9"


def test_a_question_mark_keeps_its_database():
    assert config_of_words("runs_dir='x/why?'").tracking.uri == "sqlite+pysqlite:///x/why%3F/mlflow.db"
