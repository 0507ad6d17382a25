"""Every study that comes with the package: rows without faults, a header, a command."""

import pytest

from fer_ablate.config.compose import to_config
from fer_ablate.config.conf_files import conf_dir
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.study.faults import content_faults, study_faults
from fer_ablate.study.spec import study_file, switch_faults

from .shipped_studies import STUDIES, shipped

OF_THE_READER = ("data.path", "data.ferplus_path")
"""Keys whose faults say only that this machine has no such files."""


def test_there_are_studies():
    assert "quickstart" in STUDIES


@pytest.mark.long
@pytest.mark.parametrize("name", STUDIES)
def test_its_rows_have_no_faults(name):
    study = shipped(name)
    for row in study.rows:
        found = diagnose(row.overrides)
        faults = [*found.faults, *content_faults(found, []), *study_faults(to_config(found.tree), study.study)]
        assert [str(fault) for fault in faults if fault.key not in OF_THE_READER] == []


def test_headers_name_the_commands():
    seconds = {name: (conf_dir() / "study" / f"{name}.yaml").read_text().splitlines()[1] for name in STUDIES}
    assert [name for name in STUDIES if not seconds[name].startswith(f"# Run: python -m fer_ablate -m study={name}")] == []


def test_none_has_a_switch_of_a_command():
    assert {name: faults for name in STUDIES if (faults := switch_faults(study_file(name)))} == {}
