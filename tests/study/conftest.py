"""A small study whose runs are finished by hand: what there is of it is files, and nobody trains."""

import shutil
from functools import cache
from pathlib import Path

import pytest

from fer_ablate.search.trial_store import default_address, open_store
from fer_ablate.study.cells import compose_cells
from fer_ablate.study.plan import make_plan
from fer_ablate.study.spec import study_spec
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.tracking.disk.scan import run_path

from ..finished_runs import finish_run, make_header

STUDY = """
base: [data.synthetic.train=70, data.synthetic.val=35, data.synthetic.test=35, model=pisa, trainer.max_epochs=2, tracking=none]
baseline: all
seeds: [0, 1]
rows:
  - {label: all}
  - {label: less, overrides: [model.conv_layers=4], published: {test/acc: 60.5}}
"""


@pytest.fixture(scope="session")
def _no_searches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searches")
    open_store(default_address(folder)).engine.dispose()
    return folder / "search.db"


@pytest.fixture
def search_address(_no_searches, tmp_path):
    """Address of a database without searches, copied because Optuna takes long to create one."""
    shutil.copy(_no_searches, tmp_path)
    return default_address(tmp_path)


@pytest.fixture
def conf(tmp_path):
    """A config folder of one's own with the study `depth`; returns its path."""
    file = tmp_path / "conf" / "study" / "depth.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    return tmp_path / "conf"


@cache
def composed(words, _text):
    spec = study_spec(["study=depth", *words], Path("conf"))
    return spec, compose_cells(spec, Path("conf"))


@pytest.fixture
def planned(conf, tmp_path, cache_dir, monkeypatch):
    """The plan of `study=depth` with these words added.

    Composing takes most of the time of these tests. All paths are relative, so that tests share it.
    """
    monkeypatch.chdir(tmp_path)

    def plan(*words):
        places = ("runs_dir=runs", f"data.cache_dir={cache_dir}")
        return make_plan(*composed((*places, *words), (conf / "study" / "depth.yaml").read_text()))

    return plan


def header_of(cell, **changes):
    config = cell.config
    fields = {
        "key": cell.key,
        "name": cell.row.label,
        "seed": config.seed,
        "experiment": config.tracking.experiment,
        "changed": cell.changed,
        "overrides": list(cell.overrides),
        "settings": cell.identity.settings,
        "data_digest": cell.identity.data_digest,
        "code_digest": cell.identity.code_digest,
    }
    return make_header(**{**fields, **changes})


def folder_of(cell, key=""):
    config = cell.config
    return RunFolder(run_path(Path(config.runs_dir), config.tracking.experiment, cell.row.label, config.seed, key or cell.key))


def finish(cell, **header):
    """Leave what a run of this cell leaves, which took two epochs of 5 s."""
    header = header_of(cell, **header)
    return finish_run(folder_of(cell, header.key), header, epochs=2, seconds=10.0, seconds_per_epoch=5.0).folder
