from pathlib import Path

import pytest

import fer_ablate
from fer_ablate import plots
from fer_ablate.errors import UserError
from fer_ablate.inference.media.sources import find_media
from fer_ablate.paths import expanded
from fer_ablate.tracking.disk.lookup import resolve_start

NOBODY = "~nobody_of_this_name/x"


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert expanded("~/faces") == expanded(Path("~/faces")) == Path("/home/ada/faces")
    assert expanded(NOBODY) == Path(NOBODY)


def test_folders_of_unknown_users_are_missing(tmp_path):
    with pytest.raises(UserError, match=f"init_from={NOBODY} is neither a checkpoint file nor a run"):
        resolve_start(NOBODY, tmp_path)
    with pytest.raises(UserError, match=NOBODY):
        fer_ablate.load(f"{NOBODY}.ckpt")
    media, left_out = find_media([NOBODY])
    assert media == []
    assert NOBODY in str(left_out)


def test_notebooks_find_runs_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match=f"{tmp_path}/runs"):
        plots.curves("none", runs_dir="~/runs")
