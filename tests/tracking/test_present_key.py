"""Finished runs are found by the keys of today, whatever key they were given."""

from dataclasses import replace

import pytest

from fer_ablate.config import behaviour
from fer_ablate.config.key import KEY_RULES, key_of_first_edition, run_key
from fer_ablate.tracking.disk.lookup import find_run
from fer_ablate.tracking.disk.run_folder import RunFolder

from ..finished_runs import make_header, make_result

SETTINGS = {"optimizer.lr": 0.1, "trainer.precision": "auto"}
DIGEST = "3648f38469397519"

OLD_KEY = "0123456789abcdef"


@pytest.fixture
def of_first_edition(tmp_path):
    """Leave a finished run whose header has what the first edition wrote, and read it back."""

    def leave(name="plain-s3-0123456789", config="init_from: null\n", **environment):
        folder = RunFolder(tmp_path / "depth" / name)
        folder.write_header(make_header(key=OLD_KEY, settings=SETTINGS, code_digest=DIGEST, key_rules=1))
        folder.write_config(config)
        folder.write_result(replace(make_result(), environment={"devices": "1", "precision": "32-true", **environment}))
        return folder.header

    return leave


def test_a_finished_run_has_a_key_of_today(of_first_edition):
    found = of_first_edition()
    key, settings = key_of_first_edition(SETTINGS, found.data_digest, DIGEST, "32-true")
    assert (found.key, found.settings, found.key_rules) == (key, settings, KEY_RULES)
    assert found.settings["trainer.precision"] == "fp32"


def test_the_key_has_the_format_computed_in(of_first_edition):
    assert of_first_edition().key != of_first_edition(precision="bf16-mixed").key


@pytest.mark.parametrize(
    ("config", "environment"),
    [("init_from: null\n", {"devices": "2"}), ("init_from: weights.ckpt\n", {})],
    ids=["several processes", "weights of a file"],
)
def test_what_is_not_on_record_is_not_guessed(of_first_edition, config, environment):
    assert of_first_edition(config=config, **environment).key == OLD_KEY


def test_a_start_is_known_by_its_present_key(of_first_edition):
    start = of_first_edition()
    found = of_first_edition("tuned-s3-ffffffffff", config=f"init_from: {OLD_KEY}\n")
    key, _ = key_of_first_edition(SETTINGS, found.data_digest, DIGEST, "32-true", start.key)
    assert found.key == key


def test_a_run_is_found_by_both_keys(of_first_edition, tmp_path):
    found = of_first_edition()
    assert found.earlier_key == OLD_KEY != found.key
    assert find_run(tmp_path, OLD_KEY[:10]).path == find_run(tmp_path, found.key[:10]).path


def test_a_digest_listed_later_changes_the_key(tmp_path, monkeypatch):
    """Runs of edited code stay valid when `nox -s behaviour` finds that it computes the same."""
    folder, digest = RunFolder(tmp_path / "depth" / "plain"), "e" * 16
    key = run_key(SETTINGS, "d" * 64, digest)
    folder.write_header(make_header(key=key, settings=SETTINGS, data_digest="d" * 64, code_digest=digest, key_rules=KEY_RULES))
    folder.write_result(make_result())
    assert folder.header.key == key
    monkeypatch.setattr(behaviour, "known_behaviours", lambda: {digest: 1, DIGEST: 1})
    assert folder.header.key == run_key(SETTINGS, "d" * 64, DIGEST)
