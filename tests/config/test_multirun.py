"""Grids of files and words: the runs that Hydra's own basic sweeper would make of them."""

from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fer_ablate.cli.command_line import parse
from fer_ablate.config.compose import composer, plain, primary_name, to_config
from fer_ablate.config.hydra_internals import controlling_config
from fer_ablate.config.multirun import Multirun, multirun_of
from fer_ablate.config.overrides import parsed_overrides
from fer_ablate.errors import UserError
from fer_ablate.execution.planning import grid_words
from fer_ablate.study.cells import compose_cells
from fer_ablate.study.spec import _grid, study_spec

Run = list[tuple[str, object]]

FILES = {
    "experiment/grid.yaml": "# @package _global_\nhydra: {sweeper: {params: {optimizer.lr: '1e-3,1e-4'}}}\n",
    "experiment/modes.yaml": (
        "# @package _global_\ndefaults:\n- override /optimizer: sgd\n- override /hydra/launcher: basic\n"
        "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      +optimizer.maximize: true,false\n"
        "      model.width: 'range(0.5, 1.6, 0.5)'\n      seed: range(0,2)\n      trainer.max_epochs: 3\n"
    ),
    "experiment/taken.yaml": ("# @package _global_\nname: sgd\nhydra:\n  sweeper:\n    params: {optimizer: 'adam,${name}'}\n"),
    "mine.yaml": (
        "defaults:\n- config\n- _self_\n- override optimizer: sgd\n"
        "hydra: {mode: MULTIRUN, sweeper: {params: {model.norm: 'choice(batch,none)'}}}\n"
    ),
    "loss/mine.yaml": "defaults: [cross_entropy]\nlabel_smoothing: 0.1\n",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder for `--config-dir`."""
    folder = tmp_path_factory.mktemp("own")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def runs_of_hydra(arguments: list[str]) -> list[Run]:
    """Keys and values for each run that Hydra's basic sweeper makes of a command line."""
    parsed = parse(arguments)
    given = parsed.overrides
    with composer(parsed.config_dir) as app:
        if "hydra" in str(given) or "experiment=" in str(given) or "--config-name" in arguments:
            words = [*given, "hydra/sweeper=basic", "hydra.mode=MULTIRUN"]
            hydra = controlling_config(app, primary_name(), words).hydra
            given = [*BasicSweeper(None, hydra.sweeper.params)._parse_config(), *hydra.overrides.task]
        (jobs,) = BasicSweeper.split_arguments(OverridesParser.create(app.config_loader).parse_overrides(given), None)
    return [values_of(job) for job in jobs]


def runs_of_ours(arguments: list[str]) -> list[Run]:
    """The same for the grid of this program, whose seeds change fastest."""
    parsed = parse(arguments)
    with composer(parsed.config_dir):
        spec = study_spec(grid_words(parsed), parsed.config_dir)
    seeds = [[("seed", seed)] for seed in spec.seeds] if spec.seeds is not None else [[]]
    return [[*values_of(row.overrides), *seed] for row in spec.rows for seed in seeds]


def values_of(words) -> Run:
    return [(one.key_or_group, one.value()) for one in parsed_overrides(words)]


LINES = {
    "a list": ["optimizer.lr=1e-3,1e-4"],
    "lists in their order": ["model.width=2,0.5", "optimizer=sgd,adam", "trainer.max_epochs=5"],
    "choice": ["optimizer=choice(sgd,adam)", "trainer.max_epochs=choice(3,1,2)"],
    "range": ["trainer.max_epochs=range(1,6,2)", "model.width=range(0.5,1.6,0.5)"],
    "sorted": ["trainer.max_epochs=sort(3,1,2)"],
    "lists as values": ["augment.steps=[],[{op: flip}]"],
    "a list of one": ["optimizer=choice(sgd)"],
    "glob": ["loss=glob(*)"],
    "glob of several, without one": ["optimizer=glob([a*,sgd*],exclude=*ax)", "seed=1,2"],
    "glob over a file of one's own": ["loss=glob(m*)", "optimizer.lr=0.1,0.2"],
    "added keys": ["+optimizer.maximize=true,false", "++optimizer.lr=1,2"],
    "a key that is typed twice": ["optimizer.lr=1,2", "optimizer.lr=3,4"],
    "part of a list that is typed": ["optimizer.betas=[0.5,0.9]", "optimizer.betas.0=0.1,0.2"],
    "params": ['+hydra.sweeper.params={optimizer.lr: "1e-3,1e-4"}'],
    "params and a list": ['+hydra.sweeper.params={optimizer.lr: "1,2", seed: "0,1"}', "model.norm=batch,none"],
    "params of a file": ["experiment=grid"],
    "with a typed list": ["experiment=grid", "loss=focal,cross_entropy"],
    "with their key typed": ["model.norm=batch,none", "experiment=grid", "optimizer.lr=5,6"],
    "with their key typed as one value": ["experiment=grid", "optimizer.lr=5"],
    "with a fixed value in the file": ["experiment=modes"],
    "with values of other keys": ["experiment=taken"],
    "of a primary config": ["--config-name", "mine"],
    "of it with a list": ["--config-name", "mine", "optimizer.lr=1,2"],
    "Hydra's own sweeper": ["hydra/sweeper=basic", "hydra.sweeper.max_batch_size=1", "optimizer.lr=1,2"],
}


@pytest.mark.long
@pytest.mark.parametrize("words", LINES.values(), ids=LINES)
def test_a_grid_is_what_hydra_makes(words, own):
    arguments = ["--config-dir", str(own), *words]
    ours, hydras = runs_of_ours(arguments), runs_of_hydra(arguments)
    assert len(ours) > 0
    # Seeds are set apart from the rows, so these alone keep the order.
    if any(key == "seed" for key, _ in hydras[0]):
        ours, hydras = (sorted((sorted(run, key=str) for run in runs), key=str) for runs in (ours, hydras))
    assert ours == hydras


KEYS = (
    "optimizer.lr",
    "trainer.max_epochs",
    "model.width",
    "trainer.batch_size",
    "optimizer.weight_decay",
    "trainer.accumulate",
)
NUMBERS = st.lists(st.integers(1, 9), min_size=1, max_size=3)
SWEEPS = st.one_of(
    NUMBERS.map(lambda numbers: ",".join(map(str, numbers))),
    NUMBERS.map(lambda numbers: f"choice({','.join(map(str, numbers))})"),
    st.tuples(st.integers(1, 4), st.integers(5, 9)).map(lambda ends: f"range{ends}".replace(" ", "")),
)
WORDS = st.lists(st.tuples(st.sampled_from(KEYS), SWEEPS), max_size=4)


@pytest.mark.long
@given(params=WORDS, typed=WORDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
def test_any_params_and_words_combine_as_hydras(params, typed):
    """Only the words: whether the values fit their keys is another matter."""
    asked = Multirun(True, "study", tuple(f"{key}={values}" for key, values in dict(params).items()))
    words = [f"{key}={values}" for key, values in typed]
    (jobs,) = BasicSweeper.split_arguments(parsed_overrides([*asked.params, *words]), None)
    _, combinations = _grid(parsed_overrides(asked.words(words)))
    assert [list(overrides) for _, overrides in combinations] == jobs


@pytest.mark.slow
def test_hydra_itself_composes_the_same_configs(own, tmp_path):
    """Its own sweeper and launcher run, each job in this process."""
    arguments = ["--config-dir", str(own), "experiment=modes", "trainer.max_epochs=2", "seed=3", "model.width=0.5"]
    arguments.append(f"runs_dir={tmp_path}")
    parsed = parse(arguments)
    jobs = []

    def job(tree):
        jobs.append((list(HydraConfig.get().overrides.task), plain(to_config(tree))))

    with composer(own) as app:
        app.multirun(primary_name(), job, [*parsed.overrides, "hydra/sweeper=basic", "hydra.mode=MULTIRUN"])
        spec = study_spec(grid_words(parsed), own)
        assert [row.label for row in spec.rows] == ["maximize=True", "maximize=False"]
        cells = compose_cells(spec, own)
    ours = [plain(cell.config) | {"name": None} for cell in cells]
    assert ours == [config for _, config in jobs]
    assert [config["optimizer"]["maximize"] for config in ours] == [True, False]


@pytest.mark.long
def test_files_choose_mode_sweeper_and_launcher(own):
    asked = multirun_of(["experiment=modes"], own)
    assert (asked.on, asked.sweeper, asked.notes) == (True, "study", ())
    assert not multirun_of(["experiment=modes", "hydra.mode=RUN"], own).on
    assert not multirun_of(["experiment=grid"], own).on
    assert multirun_of(["hydra={mode: MULTIRUN}"]).on
    with composer(own) as app:
        tree = controlling_config(app, primary_name(), ["experiment=modes"])
        assert OmegaConf.select(tree, "hydra.launcher._target_").endswith("BasicLauncher")


@pytest.mark.long
@pytest.mark.parametrize(
    ("word", "note"),
    [
        ("hydra/sweeper=basic", "does not train finished runs again"),
        ("hydra.job.chdir=true", "relative paths begin in the present folder"),
        ("+hydra.sweeper={params: {seed: '1,2'}, exclude: [{seed: 1}]}", "hydra.sweeper.exclude: for searches alone"),
    ],
)
def test_what_is_done_otherwise_is_said(word, note):
    assert note in multirun_of([word]).notes[0]


FAULTS = {
    "params that are no mapping": (["hydra.sweeper.params=1"], "hydra.sweeper.params: 1 is no mapping"),
    "a list": (["hydra.sweeper.params={optimizer.lr: [1,2]}"], "'\\[a,b\\]' for one list"),
    "a section": (["hydra.sweeper.params={optimizer: {lr: 1}}"], "Write optimizer.lr: a,b instead"),
    "a misspelt key": (['hydra.sweeper.params={optimizer.lrr: "1,2"}'], "Did you mean 'optimizer.lr'"),
    "an interval": (['hydra.sweeper.params={optimizer.lr: "interval(1,2)"}'], "an interval has no list of values"),
    "a reference to nothing": (['hydra.sweeper.params={optimizer.lr: "1,${nosuch}"}'], "nosuch"),
    "several sweepers": (["hydra/sweeper=basic,study"], "hydra/sweeper: basic,study is several values"),
    "no sweeper": (["hydra/sweeper=null"], "Config group override must be a string"),
    "no section": (["hydra.sweeper=1"], "hydra.sweeper: 1 is no section"),
    "glob without a match": (["loss=glob(x*)"], "matches no file of this group.*There are cross_entropy"),
    "glob of a key": (["optimizer.lr=glob(*)"], "matches no file.*There is no such group"),
    "too many": ([f"{key}=range(1,8)" for key in KEYS], "combinations of values, more than a grid"),
}


@pytest.mark.long
@pytest.mark.parametrize(("words", "message"), FAULTS.values(), ids=FAULTS)
def test_what_is_no_grid_is_answered(words, message):
    with pytest.raises(UserError, match="(?s)" + message):
        runs_of_ours(words)


@pytest.mark.long
def test_a_group_may_be_left_to_the_grid(own):
    (own / "left.yaml").write_text(
        "defaults:\n- config\n- own_group: ???\n- _self_\nhydra: {sweeper: {params: {own_group: 'few,many'}}}\n"
    )
    for name, epochs in {"few": 1, "many": 2}.items():
        file = own / "own_group" / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"# @package _global_\ntrainer: {{max_epochs: {epochs}}}\n")
    arguments = ["--config-dir", str(own), "--config-name", "left"]
    assert runs_of_ours(arguments) == runs_of_hydra(arguments) == [[("own_group", "few")], [("own_group", "many")]]


def test_another_sweeper_is_refused(own):
    (own / "hydra" / "sweeper").mkdir(parents=True, exist_ok=True)
    (own / "hydra" / "sweeper" / "batches.yaml").write_text("_target_: hydra_plugins.batches.Sweeper\n")
    with pytest.raises(UserError, match="hydra/sweeper=batches would train finished runs again"):
        runs_of_ours(["--config-dir", str(own), "hydra/sweeper=batches", "optimizer.lr=1,2"])


NAMES = {
    "without a folder": ([], "mine", "the folder of that config is missing"),
    "of no file": (["--config-dir", "."], "nosuch", "there is no file nosuch.yaml"),
    "of the program": (["--config-dir", "."], "config", "Rename config.yaml"),
    "without the program's config": (["--config-dir", "."], "alone", "(?s)lacks name, seed.*Begin its defaults list with config"),
}


@pytest.mark.parametrize(("flags", "name", "message"), NAMES.values(), ids=NAMES)
def test_a_primary_config_that_cannot_be_is_answered(flags, name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("alone", "config"):
        Path(f"{file}.yaml").write_text("optimizer: {lr: 1}\n")
    with pytest.raises(UserError, match=message):
        runs_of_ours([*flags, "--config-name", name])
