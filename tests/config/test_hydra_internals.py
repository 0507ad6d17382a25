"""What fer_ablate takes from private parts of Hydra; a failure here names what a later release changed."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf

import fer_ablate
from fer_ablate.config.compose import composed, composer
from fer_ablate.config.conf_files import CONFIG_NAME
from fer_ablate.config.hydra_internals import dump_yaml, flag_parser, launcher

MODULE = "config/hydra_internals.py"
TAKEN = {
    "hydra._internal.hydra:Hydra": {"task_name", "config_loader"},
    "hydra._internal.config_loader_impl:ConfigLoaderImpl": {"config_search_path"},
    "hydra._internal.config_loader_impl:ConfigLoaderImpl._apply_overrides_to_config": {"overrides", "cfg"},
    "hydra._internal.config_repository:ConfigRepository": {"config_search_path"},
    "hydra._internal.config_repository:ConfigRepository.load_config": {"config_path"},
    "hydra._internal.config_repository:ConfigRepository.initialize_sources": {"config_search_path"},
    "hydra._internal.hydra:Hydra.compose_config": {
        "config_name",
        "overrides",
        "run_mode",
        "with_log_configuration",
        "activate_config_repository",
    },
    "hydra._internal.utils:create_config_search_path": {"search_path_dir"},
    "hydra._internal.utils:get_args_parser": set(),
    "hydra._internal.callbacks:Callbacks.on_multirun_start": {"config"},
    "hydra._internal.callbacks:Callbacks.on_multirun_end": {"config"},
    "hydra.core.plugins:Plugins.instantiate_launcher": {"hydra_context", "task_function", "config"},
    "hydra.types:HydraContext": {"config_loader", "callbacks"},
    "omegaconf._utils:get_omega_conf_dumper": set(),
}


@pytest.mark.parametrize(("name", "arguments"), TAKEN.items(), ids=TAKEN)
def test_hydra_still_has(name, arguments):
    module, _, path = name.partition(":")
    found = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    assert arguments <= inspect.signature(found).parameters.keys()


def test_no_other_module_looks_into_hydra():
    package = Path(fer_ablate.__file__).parent
    looking = [
        file
        for file in package.rglob("*.py")
        if re.search(r"(?:from|import) (?:hydra\._internal|omegaconf\._)|from hydra\.\w+ import _", file.read_text())
    ]
    assert [file.relative_to(package).as_posix() for file in looking] == [MODULE]


def test_flags_are_separated_from_overrides():
    parsed, unknown = flag_parser().parse_known_intermixed_args(["a=1", "-m", "--config-dir", "mine", "b=2"])
    assert (parsed.overrides, parsed.multirun, parsed.config_dir, unknown) == (["a=1", "b=2"], True, "mine", [])


def test_an_inner_app_leaves_the_outer_one(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("stages: [{channels: 4}]\n")
    with composer(tmp_path):
        with composer():
            composed(["model=pisa"])
        assert composed(["model=mine"]).model.stages[0].channels == 4


def job(tree):
    return tree.model.width


@pytest.mark.long
def test_a_launcher_runs_jobs_without_a_sweeper(tmp_path):
    words = ["hydra/launcher=basic", f"hydra.sweep.dir={tmp_path}"]
    with composer() as hydra, launcher(hydra, CONFIG_NAME, words, job) as (built, tree):
        assert tree.hydra.mode is RunMode.MULTIRUN
        returns = built.launch([["model.width=0.5"], ["model.width=2.0"]], initial_job_idx=3)
    assert [one.return_value for one in returns] == [0.5, 2.0]


def test_yaml_is_written_as_omegaconf_writes_it():
    values = {"a": {"b": [1, 2.5, None, True]}, "number as text": "1e5", "empty": "", "text": "na\u00efve: yes", "list": []}
    assert dump_yaml(values) == OmegaConf.to_yaml(OmegaConf.create(values))
