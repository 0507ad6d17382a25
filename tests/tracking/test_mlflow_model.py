"""Finished networks as models in MLflow: a real store, a real model."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from fer_ablate.config.choices import Fit
from fer_ablate.config.schema import TrackingConfig
from fer_ablate.errors import UserError
from fer_ablate.inference.export.metadata import ModelMetadata
from fer_ablate.inference.export.torch_program import save_program
from fer_ablate.tracking.mlflow.connection import open_store
from fer_ablate.tracking.mlflow.registry import run_of_model

from ..finished_runs import CLASSES, fill


class Brightness(nn.Module):
    """Of 4x4 faces: the brighter, the happier."""

    def forward(self, faces):
        bright = faces.float().mean((1, 2, 3))
        return torch.stack([bright, 255 - bright], dim=1) / 255


FACES = np.stack([np.full((1, 4, 4), level, np.uint8) for level in (255, 51, 0)])


@pytest.fixture
def store(uri, runs_dir):
    return open_store(uri, "models", str(runs_dir), timeout=5)


@pytest.fixture
def models(store):
    """Imported after the store, as it asks for."""
    from fer_ablate.tracking.mlflow import models as module

    return module


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    traced = torch.export.export(Brightness().eval(), (torch.zeros(2, 1, 4, 4, dtype=torch.uint8),), dynamic_shapes=shapes)
    save_program(traced, ModelMetadata(tuple(CLASSES), (4, 4), 1, Fit.pad, "0123", ""), path)
    return path


def served(models, program, digest="one"):
    return models.ServableModel(program, CLASSES, digest, FACES, {"key": "0123", "epoch": "2"})


@pytest.mark.slow
def test_a_logged_model_answers_as_pytorch_does(store, models, program, folder, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.chdir(tmp_path)
    run_id = store.upload(fill(folder))
    before = mlflow.get_tracking_uri()
    logged = models.log_servable(store, run_id, served(models, program), register="faces one")
    assert (logged.new, logged.version) == (True, "1")
    again = models.log_servable(store, run_id, served(models, program), register="faces one")
    assert (again.uri, again.new, again.version) == (logged.uri, False, "1")
    other = models.log_servable(store, run_id, served(models, program, "two"), register="faces one")
    assert (other.new, other.version) == (True, "2")
    assert (mlflow.active_run(), mlflow.get_tracking_uri()) == (None, before)
    assert not (tmp_path / "mlflow.db").exists()

    known = store.client.get_logged_model(logged.uri.removeprefix("models:/"))
    assert (known.source_run_id, known.status) == (run_id, "READY")
    assert {metric.key: metric.value for metric in known.metrics}["test/acc"] == 0.75
    assert known.model_id in {model.model_id for model in store.client.get_run(run_id).outputs.model_outputs}

    loaded = mlflow.pyfunc.load_model(known.artifact_location)
    told = loaded.predict(FACES)
    assert list(told.columns) == [*CLASSES, "label"]
    np.testing.assert_allclose(told[CLASSES], [[1, 0], [0.2, 0.8], [0, 1]], atol=1e-6)
    assert told["label"].tolist() == ["happy", "sad", "sad"]
    assert loaded.metadata.metadata["classes"] == CLASSES
    assert len(loaded.predict(FACES[:0])) == 0
    with pytest.raises(mlflow.MlflowException, match="does not match expected shape"):
        loaded.predict(FACES[:, 0])

    models.write_example(store, logged, tmp_path / "input.json")
    assert np.array_equal(json.loads((tmp_path / "input.json").read_text())["inputs"], FACES)


@pytest.mark.slow
def test_mlflow_models_predict_answers_the_example(store, models, program, folder, tmp_path):
    logged = models.log_servable(store, store.upload(fill(folder)), served(models, program))
    models.write_example(store, logged, tmp_path / "input.json")
    path = store.client.get_logged_model(logged.uri.removeprefix("models:/")).artifact_location
    words = ["models", "predict", "-m", path, "-i", tmp_path / "input.json", "--content-type", "json", "--env-manager", "local"]
    done = subprocess.run([sys.executable, "-m", "mlflow", *words], capture_output=True, text=True, check=True, cwd=tmp_path)
    answer = json.loads(done.stdout.splitlines()[-1])["predictions"]
    assert [row["label"] for row in answer] == ["happy", "sad", "sad"]


@pytest.mark.parametrize("name", ["models:/", "models:/faces", "models:/faces/one", "models:/a/b/1"])
def test_a_malformed_model_name_says_how(name, uri, runs_dir):
    with pytest.raises(UserError, match="models:/faces/1"):
        run_of_model(name, TrackingConfig(uri=uri, experiment="models"), str(runs_dir))


def test_a_registered_model_leads_to_its_run(store, uri, runs_dir):
    tracking = TrackingConfig(uri=uri, experiment="models")
    made = store.client.create_run(store.experiment_id)
    store.client.create_registered_model("smiles")
    for _ in range(2):
        store.client.create_model_version("smiles", f"{runs_dir.as_uri()}/model", made.info.run_id)
    store.client.set_registered_model_alias("smiles", "champion", "1")
    for name in ("smiles/1", "smiles/latest", "smiles@champion"):
        assert run_of_model(f"models:/{name}", tracking, str(runs_dir)) == made.info.run_id
    with pytest.raises(UserError, match="no model called 'nosuch'"):
        run_of_model("models:/nosuch/latest", tracking, str(runs_dir))
