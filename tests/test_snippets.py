"""Every line of README.md and docs/ that is typed into a shell runs, or stands below with the reason why it cannot run here.

The lines run as they are written, in one folder, with small data of the kinds that they name. Only `SHORT` is added to those that
train or that look for what was trained: fewer drawn images, one epoch, and few batches.
"""

import re
import shlex
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_ablate.cli.main import main

from .snippets import GENERATED, PAGES, PROGRAM, blocks, typed

ELSEWHERE = {"docs/extending.md": "tests/test_extending.py", "docs/python.md": "tests/test_api.py"}
"""Pages whose snippets run in another test."""

NOT_RUN = {
    r"^python3 -m venv": "installs everything anew, which takes minutes; continuous integration does it",
    r"^(apt|runuser|useradd|for base|rsync) |^/srv/": "sets up a server; tests/tracking/test_lab_server.py does",
    r"^(export S=|curl) ?": "needs that server",
    r"^export ": "set for all lines by the test",
    r"^cd ": "done by the test",
    r"^(mlflow ui|tensorboard) ": "runs until it is stopped",
    r"^pip install optuna-dashboard": "installs a package, and runs until it is stopped",
    r"^pip install ": "installs a package",
    r"^(ray start|unshare) ": "needs further machines",
    r"ray\.init\.address=": "needs further machines",
    r"submitit_slurm|our_cluster": "needs Slurm; tests/execution/test_submitted_jobs.py has a stand-in of it",
    r" sync runs_dir=jl": "shows how it went once on a cluster",
    r"run=\.\.\.": "the keys are those of the reader",
    r"plugins=\[(timm|torchvision)\]": "the packages are no dependencies",
}
"""Lines, by a pattern -> why they do not run here; the first that fits counts."""

SHORT = ("trainer.max_epochs=1", "trainer.num_threads=1", "trainer.limit_train_batches=2", "tracking.pictures=false")
"""Added to every line that names settings, not only runs."""

ALSO = {
    r"^(?!.*(data=|experiment=(pisa|mobile)|study=jaffe|study=fer_kd|reproduce))": (
        "data.synthetic.train=140",
        "data.synthetic.val=70",
        "data.synthetic.test=70",
    ),
    r"^(?!.*(experiment=(pisa|mobile)|study=|model|reproduce))": ("model=small", "model.width=0.25"),
    "^bench": ("trainer.max_epochs=2",),
    r"study=|reproduce \w": ("study.seeds=[0]",),
    r"seeds_until": ("study.seeds=[0,1]", "study.max_seeds=3"),
    r"seed=0,1,2": ("seed=0",),
    r"optuna|mobile_search": ("hydra.sweeper.n_trials=2",),
    r"study=jaffe": ("study.rows=[Adam]",),
    r"fer_kd": ("study.rows=[FER_KD]",),
}
"""Pattern of a line -> further words that make it small."""

ALONE = re.compile(r"run=|reproduce$|^(runs|init|sync|describe|clean what)|show=all|^clean|optimizer=adm ")
"""Lines that take no settings, or whose answer is shown on the page."""

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def code(line):
    """A line without its comment."""
    return re.sub(r"\s+#.*", "", line)


def reason(line):
    """Why a line does not run here; empty if it does."""
    return next((text for pattern, text in NOT_RUN.items() if re.search(pattern, code(line))), "")


LINES = [(page, code(line)) for page in PAGES if page not in (*GENERATED, *ELSEWHERE) for line in typed(page)]
RUN = list({line: (page, line) for page, line in reversed(LINES) if not reason(line)}.values())[::-1]


def test_only_what_cannot_run_is_left_out():
    assert [line for _, line in RUN if not line.startswith(PROGRAM)] == []
    used = {reason(line) for page in PAGES if page not in GENERATED for line in typed(page)}
    assert set(NOT_RUN.values()) <= used
    assert len(RUN) > 60


def draw(seed):
    """A gray picture of 48x48 pixels, noise with a bright place."""
    draws = np.random.default_rng(seed)
    pixels = draws.integers(0, 120, (48, 48), dtype=np.uint8)
    pixels[6 * (seed % 7) : 6 * (seed % 7) + 6] += 100
    return pixels


def write_pictures(place):
    """Folders of pictures under all names that the pages use."""
    for number in range(140):
        person, emotion, picture = number // 7 % 10, number % 7, Image.fromarray(draw(number))
        shown = EMOTIONS[emotion]
        for name in (
            f"my_faces/{shown}/p{person}_{number}.png",
            f"CK+48/{shown}/S{person:03}_004_{number:08}.png",
            f"JAFFE/{'ABCDEFGHIJ'[person]}A.{shown[:2].upper()}{number // 70 + 1}.{number}.tiff",
        ):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            picture.save(place / name)
    for name, target in {"faces": "my_faces", "raf": "my_faces", "photos": "my_faces/happy", "FOLDER": "fer2013"}.items():
        (place / name).symlink_to(place / target)
    files = sorted((place / "my_faces").rglob("*.png"))
    lines = ["file,label", *(f"{file.relative_to(place)},{file.parent.name}" for file in files)]
    (place / "labels.csv").write_text("\n".join(lines))


def write_fer2013(folder):
    """Drawn faces in the files of FER2013 and of the FER+ votes."""
    folder.mkdir()
    splits = [("Training", 140), ("PublicTest", 70), ("PrivateTest", 70)]
    rows = [split for split, count in splits for _ in range(count)]
    with (folder / "fer2013.csv").open("w") as faces, (folder / "fer2013new.csv").open("w") as votes:
        print("emotion,pixels,Usage", file=faces)
        print("Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF", file=votes)
        for number, split in enumerate(rows):
            print(number % 7, " ".join(map(str, draw(number).flat)), split, sep=",", file=faces)
            print(split, f"fer{number:07}.png", *(10 if kind == number % 8 else 0 for kind in range(10)), sep=",", file=votes)


def write_video(file):
    """Ten frames with a face-sized picture."""
    stream = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 96))
    for number in range(10):
        stream.write(np.repeat(np.kron(draw(number), np.ones((2, 2), np.uint8))[..., None], 3, axis=2))
    stream.release()


def write_settings(place):
    """The YAML snippets that begin with the name of their file."""
    for block in (block for page in PAGES for block in blocks(page, "yaml")):
        if named := re.match(r"# (conf/\S+\.yaml)", block):
            file = place / named[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.partition("\n")[2])


def run(place, line):
    """Type a line; gives its exit code."""
    words = shlex.split(line.removeprefix(PROGRAM))
    given = " ".join(words)
    if not ALONE.search(given):
        words += [*SHORT, *(word for pattern, more in ALSO.items() if re.search(pattern, given) for word in more)]
    return main(words)


@pytest.fixture(scope="module")
def place(tmp_path_factory, cache_dir):
    """A folder with all that the pages name, and two runs with the names ab12 and cd34."""
    place = tmp_path_factory.mktemp("snippets")
    write_pictures(place)
    write_fer2013(place / "fer2013")
    write_video(place / "talk.mp4")
    write_settings(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["fer_ablate"])
        patch.setenv("FER_ABLATE_CACHE", str(cache_dir))
        patch.setenv("FER_ABLATE_DATA", str(place / "fer2013"))
        for seed, name in enumerate(("ab12", "cd34")):
            assert run(place, f"{PROGRAM}name={name} seed={seed} model=small model.width=0.25") == 0
        assert run(place, f"{PROGRAM}-m study=quickstart") == 0
        yield place  # the folder stays the current one


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line"), RUN, ids=[f"{page}: {line.removeprefix(PROGRAM)}" for page, line in RUN])
def test_a_line_runs_as_it_is_written(place, page, line, monkeypatch, capsys):
    within = place / "my_study" if "my_study" in line and not line.endswith("init my_study") else place
    monkeypatch.chdir(within)
    monkeypatch.syspath_prepend(str(within))
    code = run(place, line)
    printed = capsys.readouterr()
    shown = [block for block in blocks(page, "") if block.startswith(f"$ {line}\nfer_ablate: ")]
    if shown:  # a message that the page quotes
        assert (code, f"$ {line}\n{printed.err}") == (1, shown[0])
    else:
        assert code == 0, printed.out + printed.err


@pytest.mark.slow
def test_studies_of_the_pages_can_be_planned(place, capsys):
    studies = sorted(file.stem for file in (place / "conf" / "study").glob("*.yaml"))
    assert studies == ["depth", "faces", "mine", "schedules"]
    codes = [main(["plan", "--config-dir", "conf", f"study={name}"]) for name in studies]
    assert codes == [0, 0, 0, 0], capsys.readouterr()
