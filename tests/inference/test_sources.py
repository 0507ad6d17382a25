"""What `source=` means."""

import os

import pytest
from PIL import Image

from fer_ablate.inference.media.output import copy_paths
from fer_ablate.inference.media.sources import RESULTS, MediumKind, find_media


@pytest.fixture
def folder(tmp_path):
    for name in (
        "b.jpg",
        "a 😀 [1].png",
        "sub/c.mp4",
        "notes.txt",
        ".hidden.png",
        "sub/.cache/d.png",
        "old/e.png",
        f"old/{RESULTS}",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(found):
    return [str(medium.name) for medium in found[0]]


def test_hidden_files_and_results_are_not_read(folder):
    found = find_media([str(folder)])
    assert names(found) == ["a 😀 [1].png", "b.jpg", "sub/c.mp4"]
    assert [medium.kind for medium in found[0]] == [MediumKind.picture, MediumKind.picture, MediumKind.video]


def test_what_a_folder_leaves_out_is_counted(folder):
    (folder / "sub" / "f.heic").touch()
    (folder / "gone.jpg").symlink_to(folder / "nosuch.jpg")
    os.mkfifo(folder / "pipe.png")
    (told,) = find_media([str(folder)])[1]
    assert (told.display_name, told.partly) == (str(folder), True)
    assert told.reason == (
        "5 files not read (.heic 1, .txt 1, folders of earlier predictions 1, links to nothing 1, pipes and devices 1)."
    )


def test_a_folder_without_pictures_says_what_it_has(tmp_path):
    (tmp_path / "a.heic").touch()
    (told,) = find_media([str(tmp_path)])[1]
    assert told.reason == "no pictures or videos are in this folder; 1 file not read (.heic 1)."


def test_a_locked_part_of_a_folder_is_named(shared, forbidden):
    (shared / "a.jpg").touch()
    (shared / "private").mkdir()
    with forbidden(shared / "private"):
        found = find_media([str(shared)])
    assert names(found) == ["a.jpg"]
    assert [str(one) for one in found[1]] == [
        f"{shared / 'private'}: cannot be listed (Permission denied); nothing in it is read."
    ]


def test_a_file_in_a_locked_folder_is_named(shared, forbidden):
    (shared / "private").mkdir()
    (shared / "private" / "a.jpg").touch()
    with forbidden(shared / "private"):
        found = find_media([str(shared / "private" / "a.jpg")])
    assert [str(one) for one in found[1]] == [f"{shared / 'private' / 'a.jpg'}: cannot be read (Permission denied)."]


def test_linked_folders_are_read_but_not_in_circles(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").touch()
    (tmp_path / "photos" / "sub").mkdir(parents=True)
    (tmp_path / "photos" / "album").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "sub" / "circle").symlink_to(tmp_path / "photos")
    found = find_media([str(tmp_path / "photos")])
    assert names(found) == ["album/a.jpg"]
    assert [one.reason for one in found[1]] == ["1 file not read (folders read by another path 1)."]


def test_only_a_gif_that_moves_is_a_video(tmp_path):
    frames = [Image.new("L", (8, 8), level) for level in (0, 100, 200)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "still.gif")
    (tmp_path / "torn.gif").write_bytes(b"GIF89a")
    media, _ = find_media([str(tmp_path)])
    assert {medium.name.name: medium.kind.name for medium in media} == {
        "moving.gif": "video",
        "still.gif": "picture",
        "torn.gif": "picture",  # of which the decoder says that it is damaged
    }
    copies = copy_paths(media, tmp_path / "out")
    assert [copies[medium].name for medium in media] == ["moving.mp4", "still.png", "torn.png"]


def test_a_name_that_exists_is_no_pattern(folder):
    assert names(find_media([str(folder / "a 😀 [1].png")])) == ["a 😀 [1].png"]
    assert names(find_media([str(folder / "*.[jp]*g")])) == ["a 😀 [1].png", "b.jpg"]
    assert names(find_media([str(folder / "**" / "*.mp4")])) == ["c.mp4"]


def test_folders_that_match_are_read_once(folder):
    assert find_media([str(folder / "**")]) == find_media([f"{folder}/"])


def test_what_is_named_twice_is_taken_once(folder):
    assert names(find_media([str(folder / "b.jpg"), str(folder / "sub" / ".." / "b.jpg"), str(folder / "*.jpg")])) == ["b.jpg"]


def test_digits_are_a_camera_unless_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [(medium.kind, medium.display_name) for medium in find_media(["0"])[0]] == [(MediumKind.camera, "camera 0")]
    (tmp_path / "0").mkdir()
    assert "no pictures or videos are in this folder" in str(find_media(["0"])[1][0])


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.jpg")
    media, (skipped,) = find_media([str(tmp_path / "p.jpg")])
    assert media == []
    assert skipped.reason == "pipes and devices are not read."
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nosuch.jpg")
    (skipped,) = find_media([str(tmp_path / "g*.jpg")])[1]
    assert skipped.reason == "links to nothing are not read."


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("nosuch.jpg", "no such file or folder"),
        (f"{'x' * 300}.jpg", "cannot be read (File name too long)"),
        ("*.bmp", "no file matches this pattern"),
        ("notes.txt", "'.txt' is neither a picture nor"),
    ],
)
def test_what_is_not_there_is_named(folder, name, answer):
    media, skipped = find_media([str(folder / name)])
    assert media == []
    assert skipped[0].display_name == str(folder / name)
    assert answer in skipped[0].reason
