"""Addresses without credentials, quoted paths, and links to MLflow's pages."""

import json
from pathlib import Path

import pytest
from sqlalchemy import make_url

from fer_ablate import addresses
from fer_ablate.addresses import (
    bare,
    hide,
    keep_secret,
    present_store,
    remember,
    sqlite_address,
    sqlite_file,
    start_command,
    usable,
)
from fer_ablate.cli.typed import typed_word
from fer_ablate.shell import program


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(addresses, "_addresses", {})
    monkeypatch.setattr(addresses, "_values", {})
    monkeypatch.setenv(addresses.CREDENTIALS, "[]")
    monkeypatch.delenv(addresses.STORE_VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:hunter2@host:9", "http://host:9"),
        ("http://hunter2@host/mlflow", "http://host/mlflow"),
        ("http://me:hun#ter/2@host/x", "http://host/x"),
        ("postgresql+psycopg2://me:p@ss-hunter2@db:5432/runs", "postgresql+psycopg2://db:5432/runs"),
        ("postgresql://db/runs?sslmode=require&sslpassword=hunter2", "postgresql://db/runs?sslmode=require"),
        ("mysql://db/runs?password=hunter2", "mysql://db/runs"),
        ("http://host?token=hunter2#top", "http://host#top"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("sqlite:///me:a@b/mlflow.db", "sqlite:///me:a@b/mlflow.db"),
        ("sqlite:///runs/mlflow.db", "sqlite:///runs/mlflow.db"),
    ],
)
def test_credentials_leave_an_address(address, shown):
    assert bare(address) == shown


def test_credentials_are_found_where_they_are_used(monkeypatch):
    whole = "postgresql://me:hunter2@db/runs"
    assert remember(whole) == "postgresql://db/runs"
    assert usable("postgresql://db/runs") == whole
    # A process that this one starts has the environment alone.
    monkeypatch.setattr(addresses, "_addresses", {})
    assert usable("postgresql://db/runs") == whole
    assert usable("postgresql://other/runs") == "postgresql://other/runs"


def test_the_store_of_the_environment_is_known(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@host:5000")
    assert usable("http://host:5000") == "http://me:hunter2@host:5000"


def test_messages_of_libraries_lose_passwords(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "Open-Sesame")
    remember("http://me:hunter%232@host")
    said = "GET http://me:hunter%232@host/api?password=hunter%232 failed: hunter#2 and Open-Sesame were refused"
    assert hide(said) == "GET http://host/api?password=*** failed: *** and *** were refused"


@pytest.mark.parametrize("password", ["test", "resnet", "fer2013", "quickstart", "a#b"])
def test_ordinary_words_are_hidden_as_passwords(monkeypatch, password):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    said = f"model={password}/acc of http://me:{password}@host: password={password}, {{'Password': '{password}'}}"
    address = "http://me:***@host" if "#" in password else "http://host"
    assert hide(said) == f"model={password}/acc of {address}: password=***, {{'Password': '***'}}"


def test_a_place_is_shown_by_its_variable():
    keep_secret("/lab/faces", "${oc.env:LAB}")
    assert hide("'/lab/faces/a' and /lab/faces2, x/lab/faces") == "'${oc.env:LAB}/a' and /lab/faces2, x/lab/faces"


@pytest.mark.parametrize("name", ["why?", "50%20 #1", "ünï 😀", "plain/runs"])
def test_a_database_stays_in_its_folder(name):
    address = sqlite_address(Path(name) / "mlflow.db")
    assert make_url(address).database == f"{name}/mlflow.db"
    assert sqlite_file(address) == Path(name, "mlflow.db")


def test_usual_addresses_stay_as_they_were():
    assert sqlite_address("runs/mlflow.db") == "sqlite:///runs/mlflow.db"
    assert sqlite_file("postgresql://db/runs") is None


def test_a_moved_database_is_found_beside_the_runs(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mlflow.db").touch()
    old = f"sqlite:///{tmp_path}/a/mlflow.db"
    assert present_store(old, tmp_path / "b") == f"sqlite:///{tmp_path}/b/mlflow.db"
    assert present_store(old, tmp_path / "c") == old
    assert present_store("http://me:hunter2@host", tmp_path / "b") == "http://host"


@pytest.mark.parametrize(
    ("word", "taken"),
    [
        ("tracking.uri=http://me:hunter2@host", "tracking.uri=http://host"),
        ("tracking.uri='http://me:hunter2@host'", "tracking.uri='http://host'"),
        ("tracking.uri=http://a:b@one,http://c:d@two", "tracking.uri=http://one,http://two"),
        ("hydra.sweeper.storage=postgresql://me:hunter2@db/o", "hydra.sweeper.storage=postgresql://db/o"),
        ("init_from=x/epoch=3-step=99.ckpt", "init_from='x/epoch=3-step=99.ckpt'"),
        ("data.path='a=b'", "data.path='a=b'"),
        ("data.path=/home/josé/faces", "data.path='/home/josé/faces'"),
        ("runs_dir=~/runs", "runs_dir='~/runs'"),
        ("runs_dir=plain/runs_1", "runs_dir=plain/runs_1"),
        ("ckpt=x/epoch=3.ckpt", "ckpt=x/epoch=3.ckpt"),
        ("tracking.uri='http://me:${oc.env:PW}@host'", "tracking.uri='http://me:${oc.env:PW}@host'"),
    ],
)
def test_typed_words_are_taken_without_credentials(word, taken):
    assert typed_word(word) == taken


def test_whole_addresses_go_to_children_only():
    typed_word("tracking.uri=http://me:hunter2@host")
    assert json.loads(addresses.os.environ[addresses.CREDENTIALS]) == ["http://me:hunter2@host"]


def test_shown_commands_can_be_pasted():
    assert start_command("sqlite:///a b/mlflow.db") == "mlflow ui --backend-store-uri 'sqlite:///a b/mlflow.db'"
    assert start_command("http://me:hunter2@host") == ""
    assert program("-m", "data.path=/a b;rm $HOME") == "python -m fer_ablate -m 'data.path=/a b;rm $HOME'"
