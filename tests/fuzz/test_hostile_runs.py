import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import strategies as st

from fer_ablate.config.compose import composed, composer, to_config, to_yaml
from fer_ablate.models.build import build_network
from fer_ablate.tracking.disk.run_folder import RunFolder
from fer_ablate.training.checkpoints import FORMAT

from ..finished_runs import CLASSES, fill, make_header
from .attempts import problem_of, type_all, type_words
from .hostile_files import NOT_OURS, PICKLES, VALUES, damages, put

pytestmark = pytest.mark.long

FIRST, SECOND = Path("runs/depth/first-s3-0123456789"), Path("runs/depth/second-s3-1123456789")

COMMANDS = (
    ("runs",),
    ("runs", "format=json"),
    ("compare", f"run={FIRST}", f"run={SECOND}"),
    ("report", f"run={FIRST}"),
    ("evaluate", f"run={FIRST}", "trainer.num_threads=1"),
    ("ensemble", f"run={FIRST}", f"run={SECOND}"),
    ("clean",),
    ("plan", f"init_from={FIRST}", "data.synthetic.train=14", "data.synthetic.val=7", "data.synthetic.test=7"),
)

SMALL_FILES = (
    "failure.json",
    "pruned.json",
    "notes.json",
    "progress.json",
    "run.owner",
    "run.lock",
    "log.txt",
    "explanations/sanity.csv",
)
"""Files that only some runs have."""


@pytest.fixture(scope="session")
def sound_runs(tmp_path_factory):
    """Two finished runs with weights, beside each other."""
    root = tmp_path_factory.mktemp("sound")
    with composer():
        config = to_config(
            composed(["model.width=0.25", "data.synthetic.train=14", "data.synthetic.val=7", "data.synthetic.test=7"])
        )
    network = build_network(config.model, (48, 48), len(CLASSES))
    description = {
        "format": FORMAT,
        "config": to_yaml(config),
        "classes": json.dumps(CLASSES),
        "image_size": "48",
        "channels": 1,
        "epoch": 2,
    }
    for path, key in ((FIRST, "0123456789abcdef"), (SECOND, "1123456789abcdef")):
        folder = fill(RunFolder(root / path))
        folder.write_header(make_header(key=key))
        folder.checkpoints.mkdir()
        state = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
        torch.save({"fer_ablate": description, "state_dict": state}, folder.best_checkpoint)
    return root


@pytest.fixture
def fresh(sound_runs):
    """Puts the sound runs into the present folder, in place of damaged ones."""

    def copy():
        shutil.rmtree("runs", ignore_errors=True)
        shutil.copytree(sound_runs / "runs", "runs")

    return copy


def test_sound_runs_are_read(fresh):
    fresh()
    for words in COMMANDS[:4]:
        answer = type_words(words)
        assert (answer.code, problem_of(answer)) == (0, ""), words


def test_damaged_runs_end_with_a_message(fresh, sound_runs):
    stored = sorted(file.relative_to(sound_runs) for file in (sound_runs / FIRST).rglob("*") if file.is_file())
    fields = st.fixed_dictionaries(
        {
            name: st.sampled_from(VALUES)
            for name in ("problem", "at", "log", "epoch", "value", "metric", "epochs", "trained", "seconds")
        }
    )
    small = st.one_of(st.sampled_from((None, *NOT_OURS)), fields.map(lambda given: json.dumps(given).encode()))
    damage = st.one_of(
        st.sampled_from(stored).flatmap(lambda file: st.tuples(st.just(file), damages(sound_runs / file))),
        st.tuples(st.sampled_from([FIRST / name for name in SMALL_FILES] + [Path("runs/.index.json")]), small),
    )

    def commands(drawn):
        words, damaged = drawn
        fresh()
        for file, content in damaged:
            put(file, content)
        yield words

    type_all("run folders", 0.1, st.tuples(st.sampled_from(COMMANDS), st.lists(damage, min_size=1, max_size=2)), commands)


@pytest.mark.parametrize(
    "name", ["run.json", "result.json", "config.yaml", "metrics.csv", "predictions.npz", "checkpoints/best.ckpt"]
)
def test_a_pickle_in_a_run_never_runs(fresh, name):
    fresh()
    put(FIRST / name, PICKLES[2])
    for words in COMMANDS[2:5]:
        assert not problem_of(type_words(words))
