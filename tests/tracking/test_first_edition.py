"""Finished runs of the first edition are found by the keys of today."""

from dataclasses import replace

import pytest

from fer_ablate.config.key import KEY_RULES, key_of_first_edition
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
