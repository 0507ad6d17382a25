"""The page of a study or a run: what it says, that it stands alone, and that it is the same as long as nothing changed."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from fer_ablate.report.page.album import Album, explained, heat_maps, trust
from fer_ablate.report.page.elements import Code, Details, Facts, Grid, Notes, PageImage, Section, Text, rendered
from fer_ablate.report.page.shell_commands import installing, study_command
from fer_ablate.report.page.tables import changed_grid, environments, settings_grid
from fer_ablate.shell import quoted
from fer_ablate.study.spec import study_spec
from fer_ablate.tracking.disk.run_folder import RunFolder

NASTY = "<script>alert(1)</script> & \"x\" 'y' <b>"


class Elements(HTMLParser):
    """Names and attributes of all elements, and the text outside of styles."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text, self._open = [], "", ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data):
        if self._open != "style":
            self.text += data

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def test_whatever_stands_in_a_label_is_text():
    grid = Grid(NASTY, (NASTY, NASTY), ((NASTY, NASTY),))
    picture = PageImage("data:,", 4, 3, NASTY, NASTY)
    parts = (Text(NASTY), Notes((NASTY,)), Code(NASTY), grid, picture, Details(NASTY, (Facts(((NASTY, NASTY),)),)))
    page = Elements(rendered(NASTY, NASTY, NASTY, Facts(()), (Section("a", NASTY, parts),)))
    assert not page.of("script")
    assert not page.of("b")
    assert page.of("img")[0]["alt"] == NASTY
    assert page.text.count(NASTY) > 10


def test_sections_without_parts_are_not_in_the_contents():
    page = Elements(rendered("t", "k", "", Facts(()), (Section("a", "A", (Text("x"),)), Section("b", "B", ()))))
    assert {link["href"] for link in page.of("a")} == {"#a"}


def test_differing_settings_are_listed_and_equal_ones_counted():
    grid, alike = settings_grid({"base": {"lr": 0.1, "seed": 0, "k": [1]}, "slow": {"lr": 0.01, "seed": 1, "k": [1]}})
    assert (grid.header, grid.rows, grid.marked, alike) == (("row", "lr"), (("base", "0.1"), ("slow", "0.01")), {(1, 1)}, 1)


def test_many_settings_that_differ_stand_below_each_other():
    keys = "abcd"
    grid, _ = settings_grid({"one": dict.fromkeys(keys, 1), "two": dict.fromkeys(keys, 2)})
    assert grid.header == ("setting", "one", "two")
    assert grid.rows[0] == ("a", "1", "2")
    assert grid.marked == {(row, 2) for row in range(4)}


def test_network_stages_are_compared_part_by_part():
    stages = [{"block": "conv", "kernel": 3}, {"block": "conv", "kernel": 5}]
    other = [{"block": "conv", "kernel": 3}, {"block": "conv", "kernel": 7}]
    grid, _ = settings_grid({"a": {"model.stages": stages}, "b": {"model.stages": other}})
    assert grid.header == ("row", "model.stages[1].kernel")
    assert settings_grid({"a": {"x": 1}, "b": {"x": 1}}) == (None, 1)


def test_changed_settings_list_only_what_was_changed():
    grid = changed_grid({"lr": 0.1, "gone": 1, "x": None}, {"lr": 0.2, "x": None})
    assert grid.rows == (("lr", "0.1", "0.2"),)
    assert changed_grid({"lr": 0.1}, {"lr": 0.1}) is None


def test_differing_environments_name_the_runs():
    same, grid = environments({"a, seed 0": {"torch": "2", "device": "cpu"}, "b, seed 0": {"torch": "2", "device": "cuda"}})
    assert same.pairs == (("torch", "2"),)
    assert grid.rows == (("device", "cpu", "a, seed 0"), ("device", "cuda", "b, seed 0"))


@pytest.mark.long
def test_a_grids_command_has_every_value_and_seed():
    told = study_command(
        study_spec(["optimizer=sgd,adam", "optimizer.lr=0.1,0.01", "trainer.max_epochs=2", "runs_dir=x", "seed=0,1"])
    )
    assert told == "python -m fer_ablate -m optimizer=sgd,adam optimizer.lr=0.1,0.01 trainer.max_epochs=2 seed=0,1"
    crossed = study_command(study_spec(["study=quickstart", "optimizer=sgd,adam", "tracking=none"]))
    assert crossed == "python -m fer_ablate -m study=quickstart optimizer=sgd,adam seed=0,1,2"


def test_versions_are_installed_as_pip_knows_them():
    assert installing({"device": "cpu", "fer-ablate": "0.1", "torch": "2.13.0+cpu"}) == "pip install -e . torch==2.13.0"
    assert quoted("name='-1 Conv'") == "\"name='-1 Conv'\""
    assert quoted("a=$x'y") != '"a=$x\'y"'


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / "explain" / "mean_maps.png"
    file.parent.mkdir()
    Image.new("L", (40, 30)).save(file)
    return file


def test_pictures_lie_within_the_page_with_their_size(picture):
    album = Album()
    (read,) = album.read(picture, "alt", "caption")
    assert (read.width, read.height, album.pictures) == (40, 30, 1)
    assert re.match(r"data:image/png;base64,iVBOR", read.source)
    assert album.read(picture.with_name("none.png"), "", "") == []
    assert album.left_out == []


def test_damaged_or_oversized_pictures_are_named(picture):
    full = Album(room=10)
    assert full.read(picture, "", "") == []
    assert "to keep this page small" in full.left_out[0]
    picture.write_bytes(picture.read_bytes()[:40])
    album = Album()
    assert album.read(picture, "", "") == []
    assert "is damaged" in album.left_out[0]


def test_the_most_informative_heat_maps_come_first(picture):
    for name in ("right_sad", "confusions", "other"):
        (picture.parent / f"{name}.png").write_bytes(picture.read_bytes())
    files = heat_maps(RunFolder(picture.parents[1]))
    assert [file.stem for file in files] == ["mean_maps", "confusions", "other", "right_sad"]
    assert explained(Album(), files, "a, seed 0")[3].caption == "Right with high confidence, sad: a, seed 0."


def test_a_heavy_picture_is_shown_smaller(picture):
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 4), np.uint8)
    Image.fromarray(noise).save(picture)
    (read,) = Album().read(picture, "", "")
    assert read.source.startswith("data:image/jpeg")
    assert len(read.source) < picture.stat().st_size
    assert (read.width, read.height) == (400, 400)


def test_the_trust_in_heat_maps_stands_below(picture):
    picture.with_name("sanity.csv").write_text("method,rank_correlation,images,verdict\ngradcam,-0.0354,20,depends on it\n")
    (grid,) = trust(Album(), RunFolder(picture.parents[1]))
    assert grid.rows == (("gradcam", "-0.04", "20", "depends on it"),)


def test_damaged_trust_is_left_out_and_told(picture):
    picture.with_name("sanity.csv").write_bytes(b"method,\xff\xfe")
    album = Album()
    assert trust(album, RunFolder(picture.parents[1])) == []
    assert "sanity.csv is not shown: it is damaged." in album.left_out[0]
