"""The model that a run leaves in MLflow."""

import importlib

import numpy as np
import pytest

from fer_ablate.tracking.quiet import quiet


@pytest.fixture
def recorded(typed, typed_small, tmp_path):
    """Train a run of a second that is recorded, with further words."""
    words = [word for word in typed_small if word != "tracking=none"]
    return lambda *more: typed(*words, "trainer.max_epochs=1", f"runs_dir={tmp_path / 'runs'}", *more)


@pytest.mark.slow
def test_a_run_registers_the_model_it_leaves(recorded, tmp_path):
    printed = recorded("tracking.register=faces")
    assert (printed.code, printed.err) == (0, "")
    assert "version 1 of faces" in printed.out
    with quiet("mlflow"):
        mlflow = importlib.import_module("mlflow")
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
        scores = mlflow.pyfunc.load_model("models:/faces/1").predict(np.zeros((2, 1, 48, 48), np.uint8))
    assert list(scores.columns[-2:]) == ["neutral", "label"]


@pytest.mark.slow
def test_a_model_not_logged_is_a_note(recorded, monkeypatch):
    monkeypatch.setattr("fer_ablate.execution.run_output.trace_network", lambda *_: 1 / 0)
    printed = recorded("tracking.log_model=true")
    assert printed.code == 0
    assert "No model in MLflow: division by zero. Later: python -m fer_ablate export run=" in printed.out


def test_without_mlflow_there_can_be_none(typed, small):
    printed = typed(*small, "tracking.log_model=true")
    assert printed.code == 1
    assert "tracking.log_model: True needs MLflow" in printed.err
