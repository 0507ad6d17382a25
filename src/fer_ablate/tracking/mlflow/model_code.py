"""The code of a model in MLflow. It is copied beside the weights and runs there, so it may import nothing of this package.

Letters: N faces, C channels, H W pixels, K classes.
"""

import json
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.pyfunc.model import PythonModel

BATCH = 256
"""Faces that pass through the network at once, however many are given."""


class Expressions(PythonModel):
    """A network exported by torch.export."""

    # Type hints are MLflow's schemas for lists of records, and it warns where they are missing; here the signature is the schema.
    _skip_type_hint_validation = True

    def load_context(self, context: Any) -> None:
        """Read the weights and the names of the classes."""
        stored = {"fer_ablate.json": ""}  # filled by the next line
        self.program = torch.export.load(context.artifacts["program"], extra_files=stored).module()
        self.classes = json.loads(json.loads(stored["fer_ablate.json"])["fer_ablate.classes"])

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """The expressions of faces.

        Args:
            context: MLflow's; not used.
            model_input: (N, C, H, W) uint8.
            params: not used.

        Returns:
            N rows; a column of probabilities for each class, and the likeliest class as `label`.
        """
        faces = torch.from_numpy(np.array(model_input, dtype=np.uint8))
        parts = [faces[start : start + BATCH] for start in range(0, len(faces), BATCH)]
        with torch.inference_mode():
            shares = [self.program(part).numpy() for part in parts]
        table = pd.DataFrame(np.concatenate(shares) if shares else np.zeros((0, len(self.classes))), columns=self.classes)
        table["label"] = [self.classes[index] for index in table.to_numpy().argmax(axis=1)]
        return table


mlflow.models.set_model(Expressions())
