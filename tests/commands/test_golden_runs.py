"""Whole runs give the losses and scores they always gave.

Together with `training/test_golden.py` they decide, in `nox -s behaviour`, whether changed code still computes the same. A change
that is meant to alter results replaces the file and says why: `FER_ABLATE_GOLDEN=write nox -s behaviour -- <reason>`.
"""

import json
import os
from pathlib import Path

import pytest
import torch

from fer_ablate.tracking.disk.scan import scan

VERSION = torch.__version__.split("+")[0]
FILE = Path(__file__).with_name(f"golden-runs-torch-{VERSION}.json")
STORED = json.loads(FILE.read_text())["runs"] if FILE.is_file() else {}
SMALL = (
    *("data.synthetic.train=140", "data.synthetic.val=70", "data.synthetic.test=70"),
    *("trainer.batch_size=32", "trainer.max_epochs=2", "tracking=none"),
    # The same arithmetic on every machine: no format of its own, no threads, no layout of its own.
    *("trainer=cpu", "trainer.precision=fp32", "trainer.num_threads=1", "trainer.channels_last=false"),
)


def rounded(value):
    return round(float(value), 6)


def summary(folder):
    """What is stored of a run."""
    splits = folder.result.splits
    return {
        "data": folder.header.data_digest[:16],
        "losses": [[rounded(row["train/loss"]), rounded(row["val/loss"])] for row in folder.history],
        "scores": {
            split: {name: rounded(splits[split].metrics[name]) for name in ("acc", "macro_f1", "loss")}
            for split in ("val", "test")
        },
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", STORED)
def test_a_golden_run_gives_what_it_gave(name, typed, tmp_path):
    words = STORED[name]["words"]
    printed = typed(*words, *SMALL, f"name={name}", f"runs_dir={tmp_path / 'runs'}")
    assert printed.code == 0, printed.err
    (record,) = scan(tmp_path / "runs").records
    found = summary(record.folder)
    if os.environ.get("FER_ABLATE_GOLDEN") == "write":
        stored = json.loads(FILE.read_text())
        stored["runs"][name] = {"words": words, **found}
        FILE.write_text(json.dumps(stored, indent=2) + "\n")
        return
    expected = STORED[name]
    assert found["data"] == expected["data"]
    for losses, stored in zip(found["losses"], expected["losses"], strict=True):
        assert losses == pytest.approx(stored, abs=1e-4)
    for split, scores in expected["scores"].items():
        assert found["scores"][split] == pytest.approx(scores, abs=1e-4)
