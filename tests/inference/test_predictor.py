"""From files to predictions."""

import threading
from collections import Counter
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_ablate.config.choices import Fit
from fer_ablate.data.load import load_faces
from fer_ablate.errors import UserError
from fer_ablate.inference.media.detection import FaceCropping
from fer_ablate.inference.media.frames import read_frames
from fer_ablate.inference.media.sources import Skipped, find_media
from fer_ablate.inference.pipeline import Timing, build_detectors, predict_frames
from fer_ablate.inference.predictor import Predictor
from fer_ablate.inference.scorer import MeanScorer

from .drawn import Brightness, save_video, scene
from .odd_pictures import save_odd


class Inverted(Brightness):
    def probabilities(self, faces_u8):
        return super().probabilities(255 - faces_u8 // 2)


def flat(level, side=48):
    return np.full((side, side, 3), level, np.uint8)


def run(sources, scorer=None, **options):
    media, _ = find_media([str(source) for source in sources])
    frames = read_frames(media, limit=options.pop("decoded", 10**6))
    detectors, cropping = build_detectors(options.pop("detector", "none")), FaceCropping((48, 48))
    return list(
        predict_frames(frames, scorer or Brightness(), detectors, cropping, options.pop("batch_size", 4), Timing(), **options)
    )


def test_any_form_of_picture_gives_equal_faces(tmp_path):
    picture = scene()
    cv2.imwrite(str(tmp_path / "a 😀 [1].png"), picture)
    predictor = Predictor(Brightness())
    (face,) = predictor.predict(tmp_path / "a 😀 [1].png")
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert face.label == max(face.probabilities, key=face.probabilities.get)
    rgb = picture[:, :, ::-1].copy()
    assert predictor.predict(rgb) == predictor.predict(Image.fromarray(rgb)) == predictor.predict(picture[:, :, 0]) == [face]
    ((prediction,),) = ([one.faces for one in predictor.predict_many([tmp_path])],)
    assert prediction == [face]
    assert [one.faces for one in predictor.predict_many(tmp_path)] == [prediction]


@pytest.mark.parametrize("name", ["turned.jpg", "deep.pgm", "deep.png", "cutout.png"])
def test_an_opened_picture_is_read_as_its_file(tmp_path, name):
    save_odd(tmp_path)
    dark = np.arange(40 * 56, dtype=np.uint16).reshape(40, 56) * 10  # not up to 65,535, so stretching would show
    Image.fromarray(dark).save(tmp_path / "deep.pgm")
    scorer = Keeping()
    predictor = Predictor(scorer, "none")
    with Image.open(tmp_path / name) as image:
        assert predictor.predict(image) == predictor.predict(tmp_path / name)
    opened, read = scorer.given
    assert np.array_equal(opened, read)


def test_an_ensemble_is_the_mean_of_its_members():
    members = [Brightness(), Inverted()]
    single = [Predictor(member, "none").predict(flat(60))[0].probabilities["bright"] for member in members]
    both = Predictor(MeanScorer(members), "none").predict(flat(60))[0].probabilities["bright"]
    assert both == pytest.approx(np.mean(single), abs=1e-6)


def test_probabilities_take_faces_of_any_size():
    predictor = Predictor(Brightness())
    for shape in ((2, 48, 48), (2, 1, 96, 80), (2, 3, 48, 48)):
        assert predictor.probabilities(np.full(shape, 51, np.uint8)) == pytest.approx(np.array([[0.2, 0.8]] * 2))
    assert predictor.probabilities(np.zeros((0, 48, 48), np.uint8)).shape == (0, 2)
    with pytest.raises(UserError, match=r"uint8 of the shape .* these are float64 of the shape \(2, 48, 48\)"):
        predictor.probabilities(np.zeros((2, 48, 48)))


def test_other_faces_are_fitted_as_in_training():
    predictor = Predictor(Brightness(image_size=(40, 20), channels=3, fit=Fit.crop))
    faces = np.zeros((1, 1, 40, 60), np.uint8)
    faces[..., 20:40] = 255  # what is left of its width
    assert predictor.probabilities(faces) == pytest.approx(np.array([[1.0, 0.0]]))
    stretching = Predictor(Brightness(image_size=(40, 20), fit=Fit.stretch))
    assert stretching.probabilities(faces) == pytest.approx(np.array([[1 / 3, 2 / 3]]), abs=0.01)
    green = np.zeros((1, 3, 40, 20), np.uint8)
    green[:, 1] = 255
    assert stretching.probabilities(green)[0, 0] == pytest.approx(0.587, abs=0.003)  # its brightness, as gray pictures have it
    assert predictor.probabilities(green)[0, 0] == pytest.approx(1 / 3)  # as it is


@dataclass(frozen=True)
class Keeping(Brightness):
    """Keeps the faces that it is given."""

    given: list = field(default_factory=list)

    def probabilities(self, faces_u8):
        self.given.append(faces_u8)
        return super().probabilities(faces_u8)


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        pytest.param((), id="of the most frequent size, in colour"),
        pytest.param(("data.size=48", "data.channels=1", "data.fit=crop"), id="cut to squares, in gray"),
        pytest.param(("data.size=[64,24]", "data.fit=stretch"), id="stretched"),
    ],
)
def test_whole_pictures_become_the_training_images(words, config_of, tmp_path):
    save_odd(tmp_path / "odd" / "train" / "happy")
    save_odd(tmp_path / "odd" / "train" / "sad", 20)
    images = load_faces(config_of("data=folder", f"data.path={tmp_path / 'odd'}", *words).data)
    scorer = Keeping(images.size, images.channels, config_of(*words).data.fit)
    assert len(images.files) == 22
    for file, stored in zip(images.files, images.faces, strict=True):
        Predictor(scorer, "none").predict(tmp_path / "odd" / file)
        assert np.array_equal(scorer.given.pop()[0], stored), file


def test_unreadable_files_are_named_and_skipped(tmp_path):
    cv2.imwrite(str(tmp_path / "b.png"), flat(100))
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[:60])
    (tmp_path / "c.png").write_text("a text")
    (tmp_path / "d.mp4").write_bytes(b"0" * 999)
    (tmp_path / "e.mp4").touch()
    cv2.imwrite(str(tmp_path / "g.png"), flat(50))
    reasons = [item.reason if isinstance(item, Skipped) else "read" for item in run([tmp_path])]
    answers = ["is damaged", "read", "is not a picture", "is not a video that can be read, or is damaged", "is empty", "read"]
    assert len(reasons) == len(answers)
    assert all(reason.startswith(answer) for reason, answer in zip(reasons, answers, strict=True)), reasons
    with pytest.raises(UserError, match=r"c\.png: is not a picture"):
        Predictor(Brightness()).predict(tmp_path / "c.png")
    with pytest.raises(UserError, match=r"nosuch\.png: cannot be read \(No such file"):
        Predictor(Brightness()).predict(tmp_path / "nosuch.png")
    with Image.open(tmp_path / "a.jpg") as opened, pytest.raises(UserError, match=r"The picture cannot be decoded \("):
        Predictor(Brightness()).predict(opened)
    with pytest.raises(UserError, match=r"has no pixels: it is 0x10"):
        Predictor(Brightness()).predict(Image.new("RGB", (0, 10)))


def test_boxes_are_in_coordinates_of_the_original(tmp_path):
    cv2.imwrite(str(tmp_path / "large.jpg"), scene(240, 80, 800, 1280, 960))
    (whole,), (reduced,) = run([tmp_path], detector="haar"), run([tmp_path], detector="haar", decoded=400_000)
    assert reduced.frame.pixels.shape == (480, 640, 3)
    assert np.array(reduced.original_boxes) == pytest.approx(np.array(whole.original_boxes), abs=25)


def test_a_cut_off_video_gives_its_readable_frames(tmp_path):
    path = save_video(tmp_path / "whole.avi", [flat(level, 64) for level in range(0, 200, 5)])
    (tmp_path / "cut.avi").write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert len(run([path])) == 40
    *frames, word = run([tmp_path / "cut.avi"])
    assert 10 < len(frames) < 30
    assert word.partly
    assert word.reason == f"damaged or cut off: {len(frames)} of 40 frames could be read."


def test_order_is_kept_for_any_batch_and_memory(tmp_path):
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"{number:02}.png"), flat(20 * number))
    expected = [20 * number / 255 for number in range(12)]
    for options in ({"batch_size": 1}, {"batch_size": 5}, {"batch_size": 100, "limit": 1000}):
        items = run([tmp_path], **options)
        assert [item.probabilities[0, 0] for item in items] == pytest.approx(expected, abs=1e-5), options


class Failing(Brightness):
    def probabilities(self, faces_u8):
        raise MemoryError("no memory left")


def test_an_error_in_a_stage_ends_all_threads(tmp_path):
    save_video(tmp_path / "v.mp4", [flat(9, 64)] * 200)
    with pytest.raises(MemoryError, match="no memory left"):
        run([tmp_path], Failing())
    media, _ = find_media([str(tmp_path)])
    items = predict_frames(
        read_frames(media), Brightness(), build_detectors("none"), FaceCropping((48, 48)), 4, Timing(), limit=50_000
    )
    next(items)
    items.close()
    assert Counter(thread.name.split("-")[0] for thread in threading.enumerate())["Thread"] == 0


def test_every_and_max_frames_choose_frames(tmp_path):
    path = save_video(tmp_path / "v.mp4", [flat(9, 64)] * 20)
    found = list(Predictor(Brightness(), "none").predict_many([path], every=3, max_frames=4))
    assert [(one.frame, one.time_s) for one in found] == [
        (0, 0.0),
        (3, pytest.approx(0.3)),
        (6, pytest.approx(0.6)),
        (9, pytest.approx(0.9)),
    ]


@pytest.mark.parametrize("given", [{"every": 0}, {"batch_size": 0}, {"max_frames": -1}])
def test_numbers_below_the_least_are_refused(given):
    with pytest.raises(UserError, match=f"{next(iter(given))}="):
        next(Predictor(Brightness()).predict_many(["none.png"], **given))


def test_faces_of_another_type_are_refused():
    with pytest.raises(UserError, match=r"these are int64 of the shape \(1, 2, 2\)"):
        Predictor(Brightness()).probabilities([[[1, 2], [3, 4]]])


def test_no_camera_is_said_in_words(capfd):
    (found,) = Predictor(Brightness()).predict_many(["99"])
    assert "there is no such camera" in found.problem
    assert capfd.readouterr().err == ""
