"""The studies that come with the package, each composed once for all tests of a process."""

from functools import cache

from fer_ablate.config.conf_files import conf_dir
from fer_ablate.study.spec import study_spec

STUDIES = sorted(str(file.relative_to(conf_dir() / "study").with_suffix("")) for file in (conf_dir() / "study").rglob("*.yaml"))


@cache
def shipped(name):
    """Return the spec of a study as its file gives it."""
    return study_spec([f"study={name}"])
