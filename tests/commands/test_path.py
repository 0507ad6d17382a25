"""`path` as a person types it: trained, interrupted and continued; taken back; from a study, a grid and a search."""

import json
import shutil

import pytest

from fer_ablate.judgement.path import AblationPath
from fer_ablate.tracking.disk.scan import scan

STUDY = """
base: [{base}]
seeds: [0, 1]
rows:
  - {{label: plain}}
  - {{label: recipe, overrides: [model.dropout=0.1, trainer.batch_size=16]}}
  - {{label: less, overrides: [trainer.batch_size=16]}}
  - {{label: averaged, average_of: [plain, less]}}
"""


@pytest.fixture
def words(small, tmp_path):
    """The words for a study of four rows, two of them on one path."""
    file = tmp_path / "conf" / "study" / "way.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY.format(base=", ".join(["trainer.max_epochs=1", *(word for word in small if "runs_dir" not in word)])))
    return ["--config-dir", str(tmp_path / "conf"), "study=way", f"runs_dir={tmp_path / 'runs'}"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["to=recipee"], "to=recipee: there is no such row. Did you mean 'recipe'?"),
        (["to=plain"], "'plain' is the baseline, where the path begins."),
        (["to=recipe", "study.force=true"], "A path chooses by finished runs"),
        (["to=recipe", "data.roles=combined"], "data.roles=combined trains on val"),
        ([], "No row is finished, so none is known to be best."),
    ],
)
def test_ends_without_a_path_are_messages(typed, words, more, message):
    printed = typed("path", *words, *more)
    assert printed.code == 1
    assert message in printed.err


@pytest.mark.slow
def test_a_path_is_trained_continued_and_taken_back(typed, words, tmp_path):
    runs, table = tmp_path / "runs", tmp_path / "runs" / "way" / "way-path-to-recipe-table"
    assert typed("-m", *words, "study.rows=[plain,less]").code == 0
    # Four of the eight runs of the path are those of the study's rows.
    said = typed("path", *words, "to=recipe", "plan=true").out
    assert "at most 8: 2 runs a row" in said
    assert "6 runs: 2 missing, 4 finished" in said
    assert "later at most 2 runs" in said

    printed = typed("path", *words, "to=recipe")
    assert printed.code == 0, printed.err
    path = AblationPath.from_json((table / "path.json").read_text())
    assert sorted(step.decided.change for step in path.steps) == ["batch_size=16", "dropout=0.1"]
    first = path.steps[0].decided
    assert max(first.candidates, key=lambda one: one.value).change == first.change
    assert len(scan(runs).records) == 8
    assert {"path.md", "path.csv", "table.md"} <= {file.name for file in table.iterdir()}

    # What is lost is trained again, by what is left on disk alone; nothing else is.
    record = next(one for one in scan(runs).records if one.brief.name.count("+") == 2)
    kept = {one.brief.key: one.brief.started_at for one in scan(runs).records if one.brief.key != record.brief.key}
    shutil.rmtree(record.folder.path)
    assert "1 missing" in typed("path", *words, "to=recipe", "plan=true").out
    assert typed("path", *words, "to=recipe").code == 0
    now = {one.brief.key: one.brief.started_at for one in scan(runs).records}
    assert len(now) == 8
    assert kept.items() <= now.items()
    assert AblationPath.from_json((table / "path.json").read_text()) == path

    # The recipe less one change each: plain with one change is a row of the path already.
    printed = typed("path", *words, "to=recipe", "reverse=true")
    assert printed.code == 0
    assert "6 runs: 6 finished" in printed.out
    rows = json.loads((runs / "way" / "way-less-one-of-recipe-table" / "table.json").read_text())["rows"]
    assert [row["label"] for row in rows] == ["recipe", "without dropout=0.1", "without batch_size=16"]

    # The rows are a study of their own, whose runs are there already.
    folder = str(table)
    assert "6 runs: 6 finished" in typed("plan", "--config-dir", folder, "study=way-path-to-recipe", *words[-1:]).out


@pytest.mark.slow
def test_a_path_leads_to_the_best_trial(typed, small, tmp_path):
    searched = ["model.dropout=choice(0.1,0.3)", "trainer.batch_size=choice(16,32)", "hydra/sweeper=optuna"]
    words = [*small, "trainer.max_epochs=1", *searched, "hydra.sweeper.n_trials=3", "seed=0"]
    assert typed("-m", *words).code == 0
    printed = typed("path", *words)
    assert printed.code == 0, printed.err
    (file,) = (tmp_path / "runs").rglob("path.json")
    path = AblationPath.from_json(file.read_text())
    assert path.baseline == "defaults"
    assert path.target.startswith("trial 00")
    assert len(path.steps) == 2
    assert typed("path", *words, "to=7").err.startswith("fer_ablate: to=7: there is no such trial")
