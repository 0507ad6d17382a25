"""docs/config.md is what the schema and the files of conf/ say."""

from pathlib import Path

import pytest

from fer_ablate.config.reference import reference

WRITTEN = Path(__file__).parents[2] / "docs" / "config.md"


def test_the_written_reference_is_current():
    assert WRITTEN.read_text() == reference(), "run: python -m fer_ablate.config.reference > docs/config.md"


@pytest.mark.long
@pytest.mark.parametrize(
    "row",
    [
        "| `trainer.max_epochs` | whole number | epochs | from 1 | `10` | Length of the training. |",
        "| `model.stages[].dropout` | number |  | from 0 and below 1 | `0.0` | Dropout rate at the end of the stage. |",
        "| `loss.name` | text |  | `cross_entropy`, `focal`, `soft_target` | `cross_entropy` | Kind of the loss, or `package.module.Class` with plugins=[package]. |",  # noqa: E501
        "| `evaluation.crop` | number or list | pixels | a side in pixels, such as 48, or [height, width] | `null` |",
        "| `study.force` | true or false |  |  | `false` | Whether finished runs are trained again. Command line only. |",
        "| `optimizer.betas` | `[0.9, 0.999]` (adam, adamw, amsgrad, nadam, radam) |",
        "| `hydra.sweeper.n_jobs` | `1` |",
    ],
    ids=lambda row: row.split("`")[1],
)
def test_a_key_has_type_unit_bounds_and_default(row):
    assert row in reference()
