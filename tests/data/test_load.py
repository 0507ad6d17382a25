import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fer_ablate.config.choices import Drop, Labels, Roles, Source
from fer_ablate.config.schema import DataConfig, SyntheticConfig
from fer_ablate.data import download
from fer_ablate.data.load import check, load_faces
from fer_ablate.errors import UserError

CONF = Path(__file__).parents[2] / "conf" / "data"
DRAWN = SyntheticConfig(train=14, val=7, test=7, label_noise=0.0, pixel_noise=2.0, seed=0)


@pytest.fixture
def config(tmp_path):
    return DataConfig(source=Source.fer2013, path=None, cache_dir=str(tmp_path / "cache"), roles=Roles.official, synthetic=DRAWN)


def faults(config):
    return {fault.key: str(fault) for fault in check(config)}


@pytest.mark.parametrize("name", ["fer2013", "ferplus", "folder", "synthetic"])
def test_every_stored_data_config_fits_the_schema(name, monkeypatch):
    monkeypatch.setenv("FER_ABLATE_CACHE", "/somewhere")
    monkeypatch.delenv("FER_ABLATE_DATA", raising=False)
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), OmegaConf.load(CONF / f"{name}.yaml")))
    assert config.cache_dir == "/somewhere"
    assert set(faults(config)) == (set() if name == "synthetic" else {"data.path"})


def test_stored_data_configs_are_the_four_tested_here():
    assert sorted(path.stem for path in CONF.glob("*.yaml")) == ["fer2013", "ferplus", "folder", "synthetic"]


def test_synthetic_faces_are_drawn_once_and_then_mapped(config):
    config = replace(config, source=Source.synthetic)
    told = []
    first = load_faces(config, told.append)
    assert (len(first), told[-1]) == (28, 1.0)
    assert load_faces(config, told.append).digest == first.digest
    assert len(told) == 3


@pytest.mark.parametrize("given", ["fer2013.csv", ".", ".."], ids=["the file", "its folder", "the folder above"])
def test_a_path_may_be_the_table_or_a_folder_around_it(config, tmp_path, table_row, given):
    folder = tmp_path / "fer2013"
    folder.mkdir()
    (folder / "fer2013.csv").write_text("emotion,pixels,Usage\n" + table_row(emotion=4) + "\n")
    config = replace(config, path=str(folder / given))
    assert check(config) == []
    assert load_faces(config).labels.tolist() == [4]


def test_flawed_images_are_left_out_as_configured(config, table_of, table_row):
    path = table_of(table_row(emotion=1, value="0"), table_row(emotion=2, value="0"), table_row(usage="PublicTest"))
    assert load_faces(replace(config, path=str(path), drop=[Drop.conflicts])).rows.tolist() == [2]
    assert load_faces(replace(config, path=str(path), drop=[Drop.blank])).rows.tolist() == []


def test_votes_beside_the_table_are_found(config, table_of, table_row, tmp_path):
    path = table_of(table_row())
    asked = replace(config, path=str(path), labels=Labels.cross_entropy, num_classes=8)
    assert "data.ferplus_path" in faults(asked)
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    (tmp_path / "fer2013new.csv").write_text(f"{header}\nTraining,a.png,4,6,0,0,0,0,0,0,0,0\n")
    assert check(asked) == []
    assert load_faces(asked).targets[0].tolist() == pytest.approx([0, 0, 0, 0.6, 0, 0, 0.4, 0])


def test_all_faults_are_found_at_once(config):
    found = faults(replace(config, train_fraction=0.0, val_fraction=1.5, std=0.0, num_classes=9, labels=Labels.majority))
    assert set(found) == {"data.train_fraction", "data.val_fraction", "data.std", "data.num_classes", "data.path"}
    assert "9 is neither 7 nor 8" in found["data.num_classes"]


@pytest.mark.parametrize(
    ("fields", "key", "problem"),
    [
        ({"mean": "gray"}, "data.mean", "'gray' is neither a number nor a list of numbers"),
        ({"mean": [0.5, None, 0.5]}, "data.mean", "[0.5, None, 0.5] is neither a number nor a list of numbers"),
        ({"mean": []}, "data.mean", "[] is neither"),
        ({"std": True}, "data.std", "True is neither"),
        ({"std": [0.2, 0.0, 0.2]}, "data.std", "[0.2, 0.0, 0.2] is not above 0"),
    ],
    ids=str,
)
def test_mean_and_deviation_are_numbers(config, fields, key, problem):
    config = replace(config, source=Source.synthetic)
    assert problem in faults(replace(config, **fields))[key]
    assert check(replace(config, mean=[0, 0.5, 1], std=[1, 2.5, 3])) == []


def test_a_missing_path_lists_every_way_out(config, tmp_path):
    ways = "Put it there, or pass data.path=..., or set FER_ABLATE_DATA, or use data=synthetic, or data.download=true."
    assert ways in faults(config)["data.path"]
    assert f"fer2013.csv not found in {tmp_path}" in faults(replace(config, path=str(tmp_path)))["data.path"]
    assert check(replace(config, download=True)) == []


def test_votes_need_the_table(config, tmp_path):
    (tmp_path / "train" / "happy").mkdir(parents=True)
    asked = replace(config, path=str(tmp_path), labels=Labels.majority)
    assert "a folder of images, whose order is unknown" in faults(asked)["data.labels"]
    assert "only data=fer2013 has" in faults(replace(asked, source=Source.folder))["data.labels"]
    assert "8 is for FER+ labels" in faults(replace(asked, labels=Labels.hard, num_classes=8))["data.num_classes"]


def test_too_few_synthetic_faces_are_a_fault(config):
    found = faults(replace(config, source=Source.synthetic, synthetic=replace(DRAWN, val=3, label_noise=1.0, pixel_noise=-1.0)))
    assert set(found) == {"data.synthetic.val", "data.synthetic.label_noise", "data.synthetic.pixel_noise"}


def test_download_without_kagglehub_says_how_to_install_it(config, monkeypatch):
    monkeypatch.setattr(download, "kagglehub", None)
    with pytest.raises(UserError, match=r'pip install "fer-ablate\[download\]"'):
        load_faces(replace(config, download=True))


def test_loading_faces_does_not_need_torch():
    code = "import sys, fer_ablate.data.load; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
