"""Hostile YAML: files of studies and config groups that are broken, too large, of the wrong type, or hold code."""

# ruff: noqa: E501

from typing import get_type_hints

import yaml
from hypothesis import strategies as st

from fer_ablate.config.schema import Config, RowConfig, StudyKeys

RUNS_CODE = (
    "source: !!python/object/apply:os.system ['touch code-was-run']\n",
    "!!python/object/new:os.system ['touch code-was-run']\n",
    'rows: !!python/object/apply:builtins.exec [\'open("code-was-run", "w")\']\n',
    "source: !!python/name:os.system\n",
    "source: !!python/module:antigravity\n",
    "_target_: os.system\n_args_: ['touch code-was-run']\n",
    "# @package _global_\nhydra: {callbacks: {x: {_target_: os.system, command: touch code-was-run}}}\n",
    "# @package _global_\nhydra: {launcher: {_target_: os.system, command: touch code-was-run}}\n",
    "# @package _global_\nhydra: {sweeper: {_target_: os.system, command: touch code-was-run}}\n",
    "# @package _global_\nhydra: {job_logging: {version: 1, formatters: {x: {(): os.system, command: touch code-was-run}}}}\n",
    "# @package _global_\nmodel: {name: os.system, arguments: {command: touch code-was-run}}\n",
    "# @package _global_\nplugins: [os]\nmodel: {name: os.system, arguments: {command: touch code-was-run}}\n",
    "# @package _global_\noptimizer: {name: os.system, command: touch code-was-run}\n",
    "base: ['plugins=[os]', 'model.name=os.system', '+model.arguments.command=touch code-was-run']\n",
    "rows: [{label: a, overrides: ['plugins=[os]', 'model.name=os.system']}]\n",
    "rows: [{label: a, overrides: ['hydra.launcher._target_=os.system']}]\n",
)

BOMB = "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" if n else "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" for n in range(12))
MERGED = "".join(
    f"b{n}: &b{n}\n  k{n}: 1\n  <<: [{','.join([f'*b{n - 1}'] * 9)}]\n" if n else "b0: &b0 {x: 1}\n" for n in range(9)
)

BROKEN = (
    b"", b"\n\n", b"#\n", b"---\n", b"--- \n...\n---\n...\n", b"null\n", b"1\n", b"text\n", b"[]\n", b"[1, 2]\n", b"{}\n", b"true\n", b"? a\n", b"? [a, b]\n: c\n",
    b"? {a: b}\n: c\n", b"rows:\n\t- label: a\n", b"\trows: []\n", b"rows: [\n", b"rows: {\n", b"rows: 'a\n", b"rows: \"\\q\"\n", b"rows: *nosuch\n",
    b"rows: &a [*a]\n", b"rows: &a\n  b: *a\n", b"&a rows: *a\n", b"rows: []\nrows: []\n", b"source: a\nsource: b\n", b"rows: [{label: a, label: b}]\n",
    b"<<: 1\n", b"<<: [1]\n", b"<<: *a\n", b"<<: {<<: {rows: []}}\n", b"%YAML 9.9\n---\nrows: []\n", b"%NOSUCH x\n---\n{}\n", b"rows: !nosuch []\n", b"rows: !!set {a, b}\n",
    b"rows: !!omap [a: 1]\n", b"rows: !!binary aGVsbG8=\n", b"rows: !!binary '\xff'\n", b"source: !!timestamp 2001-01-01\n", b"source: 2001-01-01\n", b"seeds: !!int x\n",
    b"seeds: !!float x\n", b"seeds: [!!bool x]\n", b"seeds: [0x, 0b2, 0o9, 1_0]\n", b"seeds: [1:60:60]\n", b"seeds: [.inf, .nan]\n", b"source: \xff\xfe\n",
    b"\xff\xfer\x00o\x00w\x00s\x00", b"\xef\xbb\xbfrows: []\n", b"\xfe\xff\x00r", b"rows: []\x00\n", b"\x00" * 100, b"source: \x07\n", b"source: a\x85b\n", b"source: \"\\ud800\"\n",
    b"source: \"\\U00110000\"\n", b"\x80\x04\x95.", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n", b"rows: " + b"[" * 3000, b"rows: " + b"[" * 500 + b"]" * 500, b"rows: " + b"{a: " * 400 + b"}" * 400,
    b"- " * 3000 + b"a\n", b"source: " + b"a" * 2_000_000 + b"\n", b"a" * 2_000_000, b"a: 1\n" * 2, b"".join(b"k%d: 1\n" % n for n in range(20_000)),
    b"seeds: [" + b"1," * 50_000 + b"]\n", b"seeds: [" + b"9" * 5000 + b"]\n", b"seeds: [" + b"9" * 200_000 + b"]\n", b"source: " + b"0x" + b"f" * 100_000 + b"\n",
    b"seeds: 1" + b":1" * 5000 + b"\n", BOMB.encode(), MERGED.encode(), b"rows: " + b"&a " * 2 + b"[]\n", b"rows: !\n", b"rows: !<tag:\n", b"!!python/tuple [1]\n", b"rows: |9\n a\n", b"rows: >\n\ta\n",
    b"a: b: c\n", b"a\n b\nc: d\n", b"rows: @\n", b"rows: `\n", b"rows: %\n", b"- rows\n- seeds\n", b"1: 2\n", b"null: 1\n", b"true: 1\n", b"1.5: 1\n", b"2001-01-01: 1\n", b"? |\n a\n: 1\n", b"'': 1\n",
    b"rows.0.label: 1\n", b"a.b: 1\n", b"study: {rows: []}\n", b"defaults: 1\n", b"defaults: [nosuch]\n", b"defaults: [{nosuch: a}]\n", b"defaults: [_self_, _self_]\n", b"defaults: [mine]\n",
    b"defaults: [/study/mine]\n", b"defaults: [/study: mine]\n", b"defaults: [/study/mine@x, mine]\n", b"defaults: [../mine]\n", b"defaults: [../../../../etc/passwd]\n", b"defaults: [/etc/passwd]\n",
    b"defaults: [override /model: pisa]\n", b"defaults: [override mine: x]\n", b"defaults: [optional nosuch: a]\n", b"defaults: [{a: b, c: d}]\n", b"defaults: [[a]]\n", b"defaults: [null]\n", b"defaults: [1]\n",
    b"defaults: [model: [a, b]]\n", b"defaults: {model: pisa}\n", b"defaults: ['${seed}']\n", b"defaults: [{model: '${nosuch}'}]\n", b"defaults: ['model: pisa']\n", b"defaults: [quickstart, quickstart]\n",
    b"# @package\nrows: []\n", b"# @package nosuch\nrows: []\n", b"# @package _global_\nrows: []\n", b"# @package _global_\nseed: a\n", b"# @package a b c\nx: 1\n", b"# @package ..\nx: 1\n", b"# @package _group_._name_\nx: 1\n",
    b"# @package data.path\nx: 1\n", b"# @package _global_\nstudy: null\n", b"# @package _global_\nhydra: 1\n", b"# @package _global_\nhydra: {searchpath: [x]}\n", b"# @package _global_\nhydra: {run: {dir: [a]}}\n",
    b"# @package _global_\nhydra: {mode: x}\n", b"# @package _global_\ndata: 1\n", b"# @package _global_\ndata: null\n", b"# @package _global_\ndata: [1]\n", b"# @package _global_\ntrainer: ${nosuch}\n",
    b"# @package _global_\nmodel: ???\n", b"# @package _global_\nmodel: ${model}\n", b"# @package _global_\nmodel: {stages: ${model.stages}}\n", b"# @package _global_\nname: ${name}\n",
)  # fmt: skip

SCALARS = (
    None, True, 0, -1, 1.5, 10**30, float("nan"), float("inf"), "", "a", "a" * 5000, "???", "${seed}", "${nosuch}", "${oc.decode:[}", "${", "\x7f", "é", "😀", "a=b", "seed=1", "=", "test/acc", "val/acc/x/y", "baseline",
    "quickstart", "~seed", "+a.b=1", "seed=1,2", "model=nosuch", "model.nosuch=1", "optimizer.lr=nan", "glob(*)", "data.folds=3", "study=x", "hydra/launcher=ray",
)  # fmt: skip

STUDY_KEYS = tuple(get_type_hints(StudyKeys))
ROW_KEYS = tuple(get_type_hints(RowConfig))
CONFIG_KEYS = tuple(get_type_hints(Config))
FIRST_GROUPS = (
    "data",
    "augment",
    "model",
    "optimizer",
    "scheduler",
    "loss",
    "trainer",
    "tracking",
    "study",
    "experiment",
    "hydra/launcher",
    "hydra/sweeper",
)

GOOD_STUDY = {
    "base": ["trainer.max_epochs=1"],
    "rows": [{"label": "baseline"}, {"label": "narrow", "overrides": ["model.width=0.5"]}],
    "seeds": [0],
}


def trees() -> st.SearchStrategy[object]:
    """Values of any type."""
    names = st.one_of(
        st.sampled_from((*STUDY_KEYS, *ROW_KEYS, "optimizer.lr", "test/acc", "test", "fear", "value", "note", "op", "p")),
        st.sampled_from((1, None, True, 1.5, "", "a.b", "a b", "${a}", "_target_")),
    )
    return st.recursive(
        st.sampled_from(SCALARS),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=6,
    )


def studies() -> st.SearchStrategy[bytes]:
    """A study of which one or two keys have a value of any type."""
    rows = st.lists(
        st.dictionaries(st.sampled_from(ROW_KEYS), trees(), max_size=2).map(lambda given: {"label": "a", **given}), max_size=3
    )
    return st.one_of(
        st.dictionaries(st.sampled_from(STUDY_KEYS), trees(), min_size=1, max_size=2),
        rows.map(lambda given: {"rows": [{"label": "baseline"}, *given]}),
    ).map(lambda given: dumped({**GOOD_STUDY, **given}))


def sections() -> st.SearchStrategy[bytes]:
    """A file of any group: keys of the schema with values of any type."""
    hints = {
        name: tuple(get_type_hints(hint))
        for name, hint in get_type_hints(Config).items()
        if hasattr(hint, "__dataclass_fields__")
    }
    names = tuple(
        {key for section in hints.values() for key in section}
        | {"name", "lr", "betas", "steps", "_target_", "n_jobs", "partition"}
    )
    own = st.dictionaries(st.sampled_from(names), trees(), min_size=1, max_size=3).map(dumped)
    whole = st.dictionaries(st.sampled_from(CONFIG_KEYS), trees(), min_size=1, max_size=2).map(
        lambda tree: b"# @package _global_\n" + dumped(tree)
    )
    return own | whole


def dumped(tree: object) -> bytes:
    """A value as YAML."""
    return yaml.safe_dump(tree, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")


def files() -> st.SearchStrategy[bytes]:
    """Content of a YAML file."""
    return st.one_of(
        st.sampled_from(BROKEN), st.sampled_from(RUNS_CODE).map(str.encode), studies(), studies(), sections(), st.binary(max_size=60),
        st.builds(lambda good, at, byte: good[: at % len(good)] + byte + good[at % len(good) + 1 :], st.just(dumped(GOOD_STUDY)), st.integers(0, 500), st.binary(max_size=3)),
    )  # fmt: skip
