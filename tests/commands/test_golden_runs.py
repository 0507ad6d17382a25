"""Whole runs give the losses and scores they always gave.

Together with `training/test_golden.py` they decide, in `nox -s behaviour`, whether changed code still computes the same. Sums are
rounded otherwise on another kind of CPU, and training enlarges that, so values belong to one. A change that is meant to alter
results replaces them and says why: `FER_ABLATE_GOLDEN=write nox -s behaviour -- <reason>`.
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
    # No number format, threads or layout that the machine would choose.
    *("trainer=cpu", "trainer.precision=fp32", "trainer.num_threads=1", "trainer.channels_last=false"),
)


def rounded(value):
    return round(float(value), 6)


def summary(folder):
    """What is stored of a run."""
    splits = folder.result.splits
    return {
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
    found, cpu = summary(record.folder), record.folder.result.environment["hardware"]
    assert record.folder.header.data_digest[:16] == STORED[name]["data"]
    if os.environ.get("FER_ABLATE_GOLDEN") == "write":
        stored = json.loads(FILE.read_text())
        stored["runs"][name]["on"][cpu] = found
        FILE.write_text(json.dumps(stored, indent=2) + "\n")
        return
    assert cpu in STORED[name]["on"], "no values of this CPU: write them with FER_ABLATE_GOLDEN=write before the change"
    expected = STORED[name]["on"][cpu]
    for losses, stored in zip(found["losses"], expected["losses"], strict=True):
        assert losses == pytest.approx(stored, abs=1e-4)
    for split, scores in expected["scores"].items():
        assert found["scores"][split] == pytest.approx(scores, abs=1e-4)
