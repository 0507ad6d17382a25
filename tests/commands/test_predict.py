"""Pictures and videos read by a finished network."""

import csv
import json
import os
import signal
import threading
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_ablate.config.compose import from_yaml
from fer_ablate.config.schema import SyntheticConfig
from fer_ablate.data.load import load_faces
from fer_ablate.data.sources.synthetic import draw_faces
from fer_ablate.tracking.disk.run_folder import RunFolder

from ..inference.odd_pictures import odd_folder


@pytest.fixture(scope="module")
def drawn():
    """Pictures with one drawn face each that the Haar cascade finds."""
    blocks = []
    draw_faces(SyntheticConfig(train=7, val=1, test=1, pixel_noise=0.0), blocks.append)
    faces = np.concatenate(blocks)[:4, 0]
    large = [cv2.resize(face, (200, 200), interpolation=cv2.INTER_CUBIC) for face in faces]
    return [cv2.copyMakeBorder(face, 20, 20, 60, 60, cv2.BORDER_CONSTANT, value=100) for face in large]


@pytest.fixture
def photos(tmp_path, drawn):
    folder = tmp_path / "my photos 😀 [1]"
    (folder / "sub").mkdir(parents=True)
    for number, picture in enumerate(drawn[:2]):
        cv2.imwrite(str(folder / "sub" / f"{number}.png"), picture)
    cv2.imwrite(str(folder / "empty.jpg"), np.full((200, 300, 3), 100, np.uint8))
    (folder / "broken.jpg").write_bytes((folder / "empty.jpg").read_bytes()[:300])
    return folder


def lines(folder):
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]


def best(finished):
    return f"ckpt={finished / 'checkpoints' / 'best.ckpt'}"


def test_a_folder_gives_tables_copies_and_a_summary(typed, finished, photos, tmp_path):
    out = tmp_path / "out"
    printed = typed("predict", f"run={finished}", f"source={photos}", f"output={out}")
    assert (printed.code, printed.out.count("broken.jpg: is damaged")) == (0, 2)
    assert "1 file without a face; detector=none" in printed.out
    assert [stage for stage in ("read", "detect", "network", "draw", "write", "end to end") if stage not in printed.out] == []
    found = lines(out)
    assert [(line["file"].removeprefix(str(photos)), line["face"]) for line in found] == [
        ("/empty.jpg", None),
        ("/sub/0.png", 0),
        ("/sub/1.png", 0),
    ]
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row, line in zip(rows, found, strict=True):
        shares = line["probabilities"] or {}
        assert {name.removeprefix("p_"): float(row[name]) for name in row if name.startswith("p_") and row[name]} == shares
        assert [row[name] for name in "xywh"] == ([str(value) for value in line["box"]] if shares else [""] * 4)
        assert row["label"] == (max(shares, key=shares.get) if shares else "")
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*g")) == ["empty.jpg", "sub/0.png", "sub/1.png"]


def test_a_picture_without_a_copy_stops_no_other(typed, finished, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("L", (66_000, 320)).save(folder / "long.jpg", format="PNG")  # no JPEG file is as long
    Image.new("L", (1, 220)).save(folder / "thin.jpg")
    printed = typed("predict", best(finished), f"source={folder}", "detector=none", f"output={tmp_path / 'out'}")
    assert (printed.code, printed.out.count("long.jpg: has no annotated copy")) == (0, 2)
    assert [line["file"] for line in lines(tmp_path / "out")] == [str(folder / "long.jpg"), str(folder / "thin.jpg")]
    assert [path.name for path in (tmp_path / "out").glob("*.jpg")] == ["thin.jpg"]


@pytest.mark.long
def test_a_video_keeps_its_frames_size_and_rate(typed, finished, drawn, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (320, 240))
    for number in range(20):
        writer.write(cv2.cvtColor(drawn[number // 5], cv2.COLOR_GRAY2BGR))
    writer.release()
    assert typed("predict", best(finished), f"source={tmp_path / 'film.avi'}", f"output={tmp_path / 'out'}").code == 0
    found = lines(tmp_path / "out")
    assert [line["frame"] for line in found] == list(range(20))
    assert [line["time_s"] for line in found] == pytest.approx([number / 12.5 for number in range(20)])
    video = cv2.VideoCapture(str(tmp_path / "out" / "film.mp4"))
    facts = [video.get(name) for name in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_WIDTH)]
    assert facts == pytest.approx([20, 12.5, 320])


@pytest.mark.slow
def test_several_networks_are_averaged(typed, finished, photos, tmp_path):
    words = (f"source={photos / 'sub' / '0.png'}", "detector=none", "annotate=false", f"output={tmp_path / 'out'}")
    assert typed("predict", best(finished), *words).code == 0
    alone = lines(tmp_path / "out")[0]["probabilities"]
    printed = typed("predict", best(finished), f"run={finished}", *words)
    assert printed.out.count(", epoch ") == 2
    assert lines(tmp_path / "out")[0]["probabilities"] == alone  # the mean of a network and itself
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["predictions.csv", "predictions.jsonl"]


AS_IN_THE_TRAINING = {
    "as they are, in colour": (),
    "in gray, of another size, prepared, seen twice": (
        "data.channels=1",
        "data.size=[48,32]",
        "data.fit=crop",
        "data.prepare=[{op: equalize}]",
        "evaluation.crop=[44,30]",
        "evaluation.tta=flip",
        "model.head_pool=adaptive_avg",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("words", AS_IN_THE_TRAINING.values(), ids=AS_IN_THE_TRAINING)
def test_whole_pictures_get_the_stored_probabilities(typed, small, tmp_path, words):
    root = odd_folder(tmp_path / "odd")
    train = (*small, "data=folder", f"data.path={root}", "trainer.max_epochs=1", "trainer.batch_size=4", *words)
    assert typed(*train).code == 0
    run = RunFolder(next((tmp_path / "runs" / "fer_ablate").iterdir()))
    asked = (f"source={root / 'test'}", "detector=none", "annotate=false", f"output={tmp_path / 'out'}")
    assert typed("predict", f"run={run.path}", "trainer=cpu", *asked).code == 0
    found = {line["file"]: list(line["probabilities"].values()) for line in lines(tmp_path / "out")}
    files, stored = load_faces(from_yaml(run.config_yaml).data).files, run.predictions
    tested = {str(root / files[row]): shares for row, shares in zip(stored.rows, stored.probabilities, strict=True)}
    assert len(found) == 22
    for file, shares in found.items():
        assert shares == pytest.approx(tested[file].tolist(), abs=1e-6), file


def test_earlier_results_stay_unless_their_folder_is_named(typed, finished, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "predictions").mkdir()
    typed("predict", best(finished), f"source={photos / 'empty.jpg'}", "evaluation.tta=flip")
    assert not any((tmp_path / "predictions").iterdir())
    assert (tmp_path / "predictions-2" / "empty.jpg").is_file()


REFUSED = {
    "no source": ([], "source: is missing"),
    "a detector there is not": (["source=x.jpg", "detector=har"], "Did you mean 'haar'?"),
    "all faults at once": (["source=x", "every=0", "margin=a"], "2 faults"),
    "no display": (["source=x.jpg", "show=true"], "headless"),
    "nothing there": (["source=nosuch.jpg"], "Nothing could be read.\n  nosuch.jpg: there is no such file or folder."),
    "no camera": (["source=99", "output={out}"], "camera 99: there is no such camera"),
    "a file as output": (["source=.", "output=/dev/null"], "output=/dev/null is a file"),
    "an impossible name as output": (["source={photos}", f"output={'x' * 300}"], "a name in it is too long"),
    "a full disk": (["source={photos}", "output={full}"], "the disk is full"),
    "output over the sources": (["source={photos}", "output={photos}"], "would replace"),
    "views of an ONNX file": (["source={photos}", "ckpt=m.onnx", "evaluation.tta=flip"], "evaluation.tta: an ONNX file sees"),
    "a typo": (["source=x", "detectr=none"], "Did you mean 'detector'?"),
}


@pytest.mark.long
@pytest.mark.parametrize(("words", "answer"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_answered(typed, finished, photos, tmp_path, words, answer):
    full = tmp_path / "full"
    full.mkdir()
    (full / "predictions.csv").symlink_to("/dev/full")
    given = [word.format(photos=photos, full=full, out=tmp_path / "out") for word in words]
    printed = typed("predict", best(finished), *given)
    assert printed.code == 1
    assert answer in printed.err
    assert (photos / "broken.jpg").stat().st_size == 300


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_done(typed, finished, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "long.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    for number in range(600):
        writer.write(np.roll(noise, 7 * number, axis=1))
    writer.release()
    out = tmp_path / "out"

    def interrupt():
        while not (out / "long.mp4").is_file() or (out / "long.mp4").stat().st_size < 100_000:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    printed = typed("predict", best(finished), f"source={tmp_path / 'long.avi'}", f"output={out}", "batch_size=2")
    assert printed.code == 130
    assert "interrupted; everything listed here is kept" in printed.out
    done = len(lines(out))
    assert 0 < done < 600
    assert cv2.VideoCapture(str(out / "long.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) in (done, done + 1)
