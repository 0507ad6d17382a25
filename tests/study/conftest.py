"""A small study whose runs are finished by hand: what there is of it is files, and nobody trains."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from fer_ablate.config.key import relevant
from fer_ablate.metrics import SplitResult
from fer_ablate.study.cells import compose_cells
from fer_ablate.study.plan import make_plan
from fer_ablate.study.spec import asked
from fer_ablate.tracking.disk.places import run_path
from fer_ablate.tracking.disk.run_folder import RunFolder, RunHeader, StoredPredictions
from fer_ablate.training.result import RunResult

STUDY = """
base: [data.synthetic.train=70, data.synthetic.val=35, data.synthetic.test=35, model=pisa, trainer.max_epochs=2, tracking=none]
baseline: all
seeds: [0, 1]
rows:
  - {label: all}
  - {label: less, overrides: [model.conv_layers=4], published: {test/acc: 60.5}}
"""


@pytest.fixture
def conf(tmp_path):
    """A config folder of one's own with the study `depth`; returns its path."""
    file = tmp_path / "conf" / "study" / "depth.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    return tmp_path / "conf"


@pytest.fixture
def planned(conf, tmp_path, cache_dir):
    """The plan of `study=depth` with these words added; rows are composed anew only if the words or the file are others."""

    @cache
    def composed(words, _text):
        places = [f"runs_dir={tmp_path / 'runs'}", f"data.cache_dir={cache_dir}"]
        wanted = asked(["study=depth", *places, *words], conf)
        return wanted, compose_cells(wanted, conf)

    def plan(*words):
        return make_plan(*composed(words, (conf / "study" / "depth.yaml").read_text()))

    return plan


def header_of(cell, **fields):
    config = cell.config
    return replace(
        RunHeader(
            key=cell.key,
            name=cell.row.label,
            seed=config.seed,
            experiment=config.tracking.experiment,
            changed=cell.changed,
            overrides=list(cell.overrides),
            settings=relevant(config),
            data_digest=cell.data_digest,
            code_digest=cell.code_digest,
            started_at="2026-01-02T03:04:05+00:00",
        ),
        **fields,
    )


def folder_of(cell, key=""):
    config = cell.config
    return RunFolder(run_path(Path(config.runs_dir), config.tracking.experiment, cell.row.label, config.seed, key or cell.key))


def finish(cell, acc=0.75, **header):
    """Leave what a finished run leaves: of 40 test images the first `acc` are right."""
    header = header_of(cell, **header)
    folder = folder_of(cell, header.key)
    folder.write_header(header)
    right = np.arange(40) < round(acc * 40)
    probabilities = np.where(right[:, None], [[0.9, 0.1]], [[0.2, 0.8]]).astype(np.float32)
    folder.write_predictions(StoredPredictions(np.arange(40), np.full(40, 2), np.zeros(40, np.int64), probabilities))
    split = SplitResult(n=40, metrics={"acc": acc, "loss": 0.5}, per_class={}, confusion=[[1, 0], [0, 1]])
    folder.write_result(
        RunResult(
            key=header.key,
            name=header.name,
            seed=header.seed,
            splits={name: split for name in ("val", "test", "public", "private")},
            classes=["a", "b"],
            protocol={"roles": "official", "tta": "none"},
            best_epoch=2,
            epochs=2,
            seconds=10.0,
            seconds_per_epoch=5.0,
            peak_memory_mb=512.0,
            parameters=1234,
            macs=5678,
            finished_at="2026-01-02T03:05:05+00:00",
        )
    )
    return folder
