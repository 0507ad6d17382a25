"""A study that adds seeds until its rows are decided, trained on drawn faces."""

import json

import pytest

STUDY = """
base: [model=small, model.width=0.25, model.dropout=0, data=synthetic, data.synthetic.train=140, data.synthetic.val=70,
  optimizer.lr=1e-2, trainer.max_epochs=1]
seeds: [0, 1]
seeds_until: decided
max_seeds: 4
rows:
  - {label: small}
  - {label: one layer, overrides: [model.conv_layers=1]}
  - {label: SGD, overrides: [optimizer=sgd_nesterov, optimizer.lr=2e-2]}
"""


@pytest.mark.slow
def test_seeds_are_added_and_taken_up_again(typed, tmp_path):
    file = tmp_path / "conf" / "study" / "added.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(STUDY)
    place = ["--config-dir", str(file.parents[1]), "study=added", f"runs_dir={tmp_path / 'runs'}", "tracking=none"]
    words = [*place, "hydra/launcher=basic", "trainer.num_threads=1", "tracking.pictures=false"]
    # Where all seeds are there at once, nothing is added.
    assert "adds" not in typed("-m", *words, "study.max_seeds=2").out
    more = typed("-m", *words)
    assert more.code == 0, more.err
    assert "rows that are not decided get more seeds" in more.out or "6 runs: 6 finished" in more.out
    table = json.loads((tmp_path / "runs" / "added" / "table" / "table.json").read_text())
    seeds = {row["label"]: len(row["finished"]) for row in table["rows"]}
    assert seeds["small"] == max(seeds.values())
    assert any(note.startswith("Seeds are added until rows are decided") for note in table["notes"])
    # What is due is trained: the same command shows its table alone.
    again = typed("plan", *place, "trainer.num_threads=1", "tracking.pictures=false")
    assert f"{sum(seeds.values())} runs: {sum(seeds.values())} finished" in again.out
