from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from fer_ablate.config.choices import Drop, Labels, Roles, Source
from fer_ablate.config.schema import ColumnsConfig, DataConfig, SyntheticConfig
from fer_ablate.data.load import data_faults, load_faces
from fer_ablate.data.sources import kaggle
from fer_ablate.errors import UserError
from fer_ablate.labels import EMOTIONS

CONF = Path(__file__).parents[2] / "conf" / "data"
DRAWN = SyntheticConfig(train=14, val=7, test=7, label_noise=0.0, pixel_noise=2.0, seed=0)


@pytest.fixture
def config(tmp_path):
    return DataConfig(source=Source.fer2013, path=None, cache_dir=str(tmp_path / "cache"), roles=Roles.official, synthetic=DRAWN)


def faults(config):
    return {fault.key: str(fault) for fault in data_faults(config)}


STORED = ["ck_plus", "fer2013", "ferplus", "folder", "jaffe", "list", "own", "synthetic"]


@pytest.mark.parametrize("name", STORED)
def test_every_stored_data_config_fits_the_schema(name, monkeypatch):
    monkeypatch.setenv("FER_ABLATE_CACHE", "/somewhere")
    monkeypatch.delenv("FER_ABLATE_DATA", raising=False)
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(DataConfig), OmegaConf.load(CONF / f"{name}.yaml")))
    assert config.cache_dir == "/somewhere"
    assert set(faults(config)) == ({"synthetic": set(), "own": {"data.reader"}}.get(name, {"data.path"}))


def test_stored_data_configs_are_those_tested_here():
    assert sorted(path.stem for path in CONF.glob("*.yaml")) == STORED


def test_synthetic_faces_are_drawn_once_and_then_mapped(config):
    config = replace(config, source=Source.synthetic)
    fractions = []
    first = load_faces(config, fractions.append)
    assert (len(first), fractions[-1]) == (28, 1.0)
    assert load_faces(config, fractions.append).digest == first.digest
    assert len(fractions) == 3


@pytest.mark.parametrize("given", ["fer2013.csv", ".", ".."], ids=["the file", "its folder", "the folder above"])
def test_a_path_is_the_table_or_its_folder(config, tmp_path, table_row, given):
    folder = tmp_path / "fer2013"
    folder.mkdir()
    (folder / "fer2013.csv").write_text("emotion,pixels,Usage\n" + table_row(emotion=4) + "\n")
    config = replace(config, path=str(folder / given))
    assert data_faults(config) == []
    assert load_faces(config).labels.tolist() == [4]


def test_flawed_images_are_left_out_as_configured(config, table_of, table_row):
    path = table_of(table_row(emotion=1, value="0"), table_row(emotion=2, value="0"), table_row(usage="PublicTest"))
    assert load_faces(replace(config, path=str(path), drop=[Drop.conflicts])).rows.tolist() == [2]
    assert load_faces(replace(config, path=str(path), drop=[Drop.blank])).rows.tolist() == []


def test_votes_beside_the_table_are_found(config, table_of, table_row, tmp_path):
    path = table_of(table_row())
    changed = replace(config, path=str(path), labels=Labels.cross_entropy, num_classes=8)
    assert "data.ferplus_path" in faults(changed)
    header = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    (tmp_path / "fer2013new.csv").write_text(f"{header}\nTraining,a.png,4,6,0,0,0,0,0,0,0,0\n")
    assert data_faults(changed) == []
    assert load_faces(changed).targets[0].tolist() == pytest.approx([0, 0, 0, 0.6, 0, 0, 0.4, 0])


def test_all_faults_are_found_at_once(config):
    found = faults(replace(config, train_fraction=0.0, val_fraction=1.5, std=0.0, num_classes=9, labels=Labels.majority))
    assert set(found) == {"data.train_fraction", "data.val_fraction", "data.std", "data.num_classes", "data.path"}
    assert "9 is not one of 7, 8" in found["data.num_classes"]


@pytest.mark.parametrize(
    ("fields", "key", "problem"),
    [
        ({"mean": "gray"}, "data.mean", "'gray' is not a number or a list of numbers"),
        ({"mean": [0.5, None, 0.5]}, "data.mean", "[0.5, None, 0.5] is not a number or a list of numbers"),
        ({"mean": []}, "data.mean", "[] is not a number"),
        ({"std": True}, "data.std", "True is not a number"),
        ({"std": [0.2, 0.0, 0.2]}, "data.std", "[0.2, 0.0, 0.2] is not a number above 0"),
    ],
    ids=str,
)
def test_mean_and_deviation_are_numbers(config, fields, key, problem):
    config = replace(config, source=Source.synthetic)
    assert problem in faults(replace(config, **fields))[key]
    assert data_faults(replace(config, mean=[0, 0.5, 1], std=[1, 2.5, 3])) == []


def test_a_missing_path_lists_every_way_out(config, tmp_path):
    ways = "Put it there, or pass data.path=..., or set FER_ABLATE_DATA, or use data=synthetic, or data.download=true."
    assert ways in faults(config)["data.path"]
    assert f"fer2013.csv not found in {tmp_path}" in faults(replace(config, path=str(tmp_path)))["data.path"]
    assert data_faults(replace(config, download=True)) == []


def test_votes_need_the_table(config, tmp_path):
    (tmp_path / "train" / "happy").mkdir(parents=True)
    changed = replace(config, path=str(tmp_path), labels=Labels.majority)
    assert "a folder of images, whose order is unknown" in faults(changed)["data.labels"]
    assert "which data=list does not have" in faults(replace(changed, source=Source.list))["data.labels"]
    assert "8 is for FER+ labels" in faults(replace(changed, labels=Labels.hard, num_classes=8))["data.num_classes"]


def test_too_few_synthetic_faces_are_a_fault(config):
    found = faults(replace(config, source=Source.synthetic, synthetic=replace(DRAWN, val=3, label_noise=1.0, pixel_noise=-1.0)))
    assert set(found) == {"data.synthetic.val", "data.synthetic.label_noise", "data.synthetic.pixel_noise"}


def test_download_without_kagglehub_says_how_to_install_it(config, monkeypatch):
    monkeypatch.setattr(kaggle, "kagglehub", None)
    with pytest.raises(UserError, match=r'pip install "fer-ablate\[download\]"'):
        load_faces(replace(config, download=True))


@pytest.fixture
def folder_config(config):
    return replace(config, source=Source.folder, roles=Roles.auto)


@pytest.mark.parametrize(
    ("fields", "key", "problem"),
    [
        ({"size": "large"}, "data.size", "'large' is not a side in pixels"),
        ({"size": [48]}, "data.size", "[48] is not a side in pixels"),
        ({"size": 0}, "data.size", "0 is not a side in pixels"),
        ({"channels": 2}, "data.channels", "2 is not one of 1, 3"),
        ({"folds": 1}, "data.folds", "1 is below 2"),
        ({"folds": 3, "fold": 3}, "data.fold", "3 is none of 3 folds"),
        ({"fold": 1}, "data.fold", "1, but there are no folds"),
        ({"group": "(S"}, "data.group", "'(S' is not a regular expression"),
        ({"test_fraction": 0.95, "val_fraction": 0.1}, "data.test_fraction", "leave nothing to train on"),
        ({"merge": {"a": ["x"], "b": ["X"]}}, "data.merge", "X is in a and in b"),
        ({"ferplus_path": "votes.csv"}, "data.ferplus_path", "votes.csv is not read by data=folder"),
        ({"columns": ColumnsConfig(label="mood")}, "data.columns.label", "mood is not read by data=folder"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_faults_name_what_was_given(folder_config, tmp_path, fields, key, problem):
    assert problem in faults(replace(folder_config, path=str(tmp_path), **fields))[key]


def test_a_folder_says_how_it_was_read(folder_config, folder_of):
    folder = folder_of("in/Train/happy/1.png", "in/Train/sad/1.jpg", "in/test/happy/1.png")
    (folder / "notes.txt").write_text("")
    faces = load_faces(replace(folder_config, path=str(folder)))
    assert faces.left_out == {".txt": 1}
    assert faces.notes == (
        "Read as <split>/<class>/<image>: 3 images (.png 2, .jpg 1); 1 file not read (.txt 1).",
        "The splits are in in.",
    )


def test_a_stray_file_does_not_reread_the_folder(folder_config, folder_of, tmp_path):
    folder = folder_of("train/happy/1.png", "train/sad/1.png")
    first = load_faces(replace(folder_config, path=str(folder)))
    (folder / "notes.txt").write_text("")
    second = load_faces(replace(folder_config, path=str(folder)))
    assert (first.left_out, second.left_out) == ({}, {".txt": 1})
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1


def test_a_list_is_read_from_its_csv(folder_config, folder_of):
    folder = folder_of("1.png", "2.png")
    (folder / "labels.csv").write_text("file,emotion,person\n1.png,Happiness,ann\n2.png,sad,bob\n")
    faces = load_faces(replace(folder_config, source=Source.list, path=str(folder / "labels.csv")))
    assert (faces.classes, faces.labels.tolist(), faces.splits) == (("happy", "sad"), [0, 1], ("all",))
    assert faces.groups.tolist() == [0, 1]


def test_a_pattern_finds_persons_in_file_names(folder_config, folder_of):
    folder = folder_of("happy/ann_1.png", "happy/bob_1.png", "sad/ann_2.png", "sad/other.png")
    faces = load_faces(replace(folder_config, path=str(folder), group="/([a-z]+)_"))
    assert faces.groups[0] == faces.groups[2]
    assert len(set(faces.groups.tolist())) == 3
    assert faces.notes[-1] == "Groups (data.group): 2 in 3 images; 1 images without a match are a group each."
    assert load_faces(replace(folder_config, path=str(folder))).groups is None


def test_a_plain_word_names_a_column_of_lists(folder_config, folder_of):
    folder = folder_of("happy/S001_001_00000001.png", "happy/S002_001_00000001.png", "sad/S002_001_00000002.png")
    by_pattern = load_faces(replace(folder_config, path=str(folder), group="sad"))
    assert by_pattern.notes[-1] == "Groups (data.group): 1 in 1 images; 2 images without a match are a group each."
    (folder / "labels.csv").write_text("file,label,lab\nhappy/S001_001_00000001.png,happy,a\nsad/S002_001_00000002.png,sad,a\n")
    by_column = load_faces(replace(folder_config, source=Source.list, path=str(folder / "labels.csv"), group="lab"))
    assert by_column.groups.tolist() == [0, 0]


def test_other_groups_make_another_data_set(folder_config, folder_of):
    folder = folder_of("happy/ann_1.png", "sad/ann_2.png", "sad/bob_3.png")
    digests = {
        load_faces(replace(folder_config, path=str(folder), group=group)).digest for group in ("auto", "([a-z]+)_", "_(.)")
    }
    assert len(digests) == 3


def test_an_unmatched_pattern_shows_a_file_name(folder_config, folder_of):
    folder = folder_of("happy/1.png", "sad/1.png")
    with pytest.raises(UserError, match=r"data\.group=\(S\\d\+\)_: no file name matches, such as happy/1\.png"):
        load_faces(replace(folder_config, path=str(folder), group=r"(S\d+)_"))


def test_a_folder_without_votes_has_its_own_classes(folder_config, folder_of):
    folder = folder_of("happy/1.png", "sad/1.png")
    with pytest.raises(UserError, match=r"data\.num_classes=8 is for FER\+ votes, but .* has none"):
        load_faces(replace(folder_config, path=str(folder), num_classes=8))


def test_votes_in_a_folder_give_labels_or_distributions(folder_config, folder_of):
    folder = folder_of("FER2013Train/1.png", "FER2013Train/2.png")
    lines = ['1.png,"(0, 0, 48, 48)",4,6,0,0,0,0,0,0,0,0', '2.png,"(0, 0, 48, 48)",5,5,0,0,0,0,0,0,0,0']
    (folder / "FER2013Train" / "label.csv").write_text("\n".join(lines))
    changed = replace(folder_config, path=str(folder))
    majority = load_faces(changed)
    assert [majority.classes[label] for label in majority.labels[majority.rows]] == ["happy"]
    assert majority.notes[-1] == "1 of 2 images are left out: their FER+ votes decide for no expression."
    shares = load_faces(replace(changed, labels=Labels.cross_entropy))
    assert shares.targets[0, [3, 6]].tolist() == pytest.approx([0.6, 0.4])


def test_kaggle_folders_have_the_classes_of_fer2013(config, folder_of):
    folder = folder_of(
        "Train/Happiness/Training_1.jpg", "TEST/sad/PublicTest_1.jpg", "TEST/angry/PrivateTest_1.jpg", size=(50, 48)
    )
    faces = load_faces(replace(config, path=str(folder)))
    assert faces.classes == EMOTIONS
    assert faces.faces.shape == (3, 1, 48, 48)
    named = {(faces.splits[usage], EMOTIONS[label]) for usage, label in zip(faces.usage, faces.labels, strict=True)}
    assert named == {("Training", "happy"), ("PublicTest", "sad"), ("PrivateTest", "angry")}


def test_kaggle_test_images_are_one_split(config, folder_of):
    folder = folder_of("train/fearful/im1.png", "test/happy/im1.png", "test/happy/PublicTest_1.png")
    faces = load_faces(replace(config, path=str(folder)))
    assert faces.splits == ("Training", "test")
    assert np.bincount(faces.usage).tolist() == [1, 2]


def test_a_foreign_class_points_to_data_folder(config, folder_of):
    with pytest.raises(UserError, match=r"'bored' is not a class of FER2013.*data=folder"):
        load_faces(replace(config, path=str(folder_of("train/bored/1.png"))))


def test_drawn_faces_take_a_size_and_channels(config):
    faces = load_faces(replace(config, source=Source.synthetic, size=[24, 32], channels=3))
    assert faces.faces.shape == (28, 3, 24, 32)


def test_a_file_instead_of_folder_names_its_reader(folder_config, tmp_path):
    (tmp_path / "labels.csv").write_text("")
    assert "is read by data=list" in faults(replace(folder_config, path=str(tmp_path / "labels.csv")))["data.path"]
    assert "is not a file" in faults(replace(folder_config, source=Source.list, path=str(tmp_path)))["data.path"]


def test_several_tables_of_unknown_names_are_listed(config, table_of, table_row, tmp_path):
    for name in ("train.csv", "val.csv"):
        table_of(table_row(), name=name)
    (tmp_path / "labels.csv").write_text("file,label\n")
    problem = f"{tmp_path} holds 2 tables (train.csv, val.csv). Pass the right one as data.path=..."
    changed = replace(config, path=str(tmp_path))
    assert faults(changed) == {"": problem}
    with pytest.raises(UserError, match="holds 2 tables"):
        load_faces(changed)
    assert len(load_faces(replace(config, path=str(tmp_path / "val.csv")))) == 1


def test_tables_beside_the_known_one_are_noted(config, table_of, table_row, tmp_path):
    path = table_of(table_row(emotion=4))
    (tmp_path / "fer2013new.csv").write_text("Usage,Image name,neutral\n")
    assert load_faces(replace(config, path=str(tmp_path))).notes == ()
    for name in ("icml_face_data.csv", "train.csv"):
        table_of(table_row(), name=name)
    beside = load_faces(replace(config, path=str(tmp_path)))
    assert beside.labels.tolist() == [4]
    assert beside.notes == ("Of several tables fer2013.csv is read, not icml_face_data.csv, train.csv.",)
    assert load_faces(replace(config, path=str(path))).notes == ()


@pytest.mark.parametrize("source", [Source.folder, Source.list, Source.fer2013], ids=lambda source: source.name)
def test_a_path_in_a_locked_folder(config, shared, forbidden, source):
    folder = shared / "locked" / "faces"
    folder.mkdir(parents=True)
    changed = replace(config, source=source, path=str(folder))
    with forbidden(folder.parent):
        assert "data.path=" in faults(changed)[""]
        with pytest.raises(UserError, match=r"cannot be looked up \(Permission denied\)\. Change its permissions or those of"):
            load_faces(changed)


@pytest.mark.parametrize("mode", [0o111, 0o444], ids=["not listed", "not entered"])
def test_a_locked_folder_of_a_table(config, table_of, table_row, shared, forbidden, mode):
    (shared / "fer").mkdir()
    table_of(table_row(), name=str(shared / "fer" / "fer2013.csv"))
    with forbidden(shared / "fer", mode):
        assert "cannot be looked up (Permission denied)" in faults(replace(config, path=str(shared / "fer")))[""]


def test_votes_in_a_locked_folder(config, table_of, table_row, shared, forbidden):
    (shared / "votes").mkdir()
    path = table_of(table_row(), name=str(shared / "fer2013.csv"))
    votes = str(shared / "votes" / "fer2013new.csv")
    with forbidden(shared / "votes"):
        found = faults(replace(config, path=str(path), labels=Labels.majority, ferplus_path=votes))
    assert f"data.ferplus_path={votes} cannot be looked up (Permission denied)" in found[""]


def test_a_picture_that_was_locked_comes_back(folder_config, folder_of, shared, forbidden):
    folder = folder_of("happy/1.png", "happy/2.png", "sad/3.png", root=shared / "faces")
    changed = replace(folder_config, path=str(folder), cache_dir=str(shared / "cache"))
    with forbidden(folder / "sad" / "3.png"):
        left = load_faces(changed)
        assert (len(left), left.left_out) == (2, {"cannot be opened": 1})
    assert (len(load_faces(changed)), load_faces(changed).left_out) == (3, {})


def test_names_that_are_no_text_can_be_stored(folder_config, folder_of, tmp_path):
    folder = folder_of(*(f"trai\udce9/{name}" for name in ("happ\udce9/1.png", "sad/\udce9_2.png")), "test/sad/3.png")
    folder.rename(tmp_path / "face\udce9")
    folder = tmp_path / "face\udce9"
    (folder / "train").mkdir()
    for number in range(3):
        (folder / "test" / "sad" / f"\udce9{number}.png").write_text("")
    (folder / "notes.tx\udce9").write_text("")
    (folder / "test" / "\udce9mpty").mkdir()
    faces = load_faces(replace(folder_config, path=str(folder)))
    said = [*faces.notes, *faces.left_out, *faces.classes, *faces.splits, *faces.files]
    assert "Not read: test/sad/\\xe90.png is not a picture, or its beginning is damaged." in said
    assert "\n".join(said).encode().count(b"\\xe9") > 8
    assert faces.files[-1] == r"trai\xe9/sad/\xe9_2.png"
