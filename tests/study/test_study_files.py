"""Every study that comes with the package: rows without faults, a header, a command."""

import pytest

from fer_ablate.config.compose import to_config
from fer_ablate.config.conf_files import conf_dir
from fer_ablate.config.diagnosis import diagnose
from fer_ablate.study.faults import content_faults, study_faults
from fer_ablate.study.spec import study_file, study_spec, switch_faults

STUDIES = sorted(str(file.relative_to(conf_dir() / "study").with_suffix("")) for file in (conf_dir() / "study").rglob("*.yaml"))
OF_THE_READER = ("data.path", "data.ferplus_path")
"""Keys whose faults say only that this machine has no such files."""


def test_there_are_studies():
    assert "quickstart" in STUDIES


@pytest.mark.parametrize("name", STUDIES)
def test_its_rows_have_no_faults(name):
    study = study_spec([f"study={name}"])
    for row in study.rows:
        found = diagnose(row.overrides)
        faults = [*found.faults, *content_faults(found, []), *study_faults(to_config(found.tree), study.study)]
        assert [str(fault) for fault in faults if fault.key not in OF_THE_READER] == []


@pytest.mark.parametrize("name", STUDIES)
def test_its_header_names_its_command(name):
    second = (conf_dir() / "study" / f"{name}.yaml").read_text().splitlines()[1]
    assert second.startswith(f"# Run: python -m fer_ablate -m study={name}")


@pytest.mark.parametrize("name", STUDIES)
def test_it_has_no_switch_of_a_command(name):
    assert switch_faults(study_file(name)) == []
