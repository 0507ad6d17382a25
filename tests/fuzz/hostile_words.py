"""Hostile overrides: every key of the schema and every group with values that nobody means."""

# ruff: noqa: E501

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

from hypothesis import strategies as st

from fer_ablate.config.bounds import bare_type
from fer_ablate.config.conf_files import conf_dir
from fer_ablate.config.schema import Config

RUNS_CODE = (
    "{_target_:os.system,_args_:['touch code-was-run']}",
    '{_target_:builtins.exec,_args_:[\'open("code-was-run","w")\']}',
    "[{_target_:subprocess.check_call,args:[touch,code-was-run]}]",
    "os.system",
    "!!python/object/apply:os.system",
)

NUMBERS = (
    "0", "-1", "1e400", "-1e400", "1e308", "1e-400", "nan", "inf", "-inf", ".5.", "1_000", "0x10", "1.5", "9" * 25, "9" * 5000, "-0.0",
    "1e5000", "2147483648", "18446744073709551616", "١٢",
)  # fmt: skip

TEXTS = (
    "", "''", "' '", "null", "true", "yes", "~", "???", "a" * 5000, "\x00", "a\x00b", "'\x00'", "é", "😀", "\u202eabc", "\ud800", "\n", "a\nb",
    "'a\\nb'", "../../etc/passwd", "/etc/passwd", "..", "../..", ".", "-", "--help", "=", "a=b", "#", "a#b", "'#'", "%s", "{}", "{0}", "\\", "'\\'",
    "glob(*)", "glob([*,a],exclude=b)", "choice(1,2)", "choice()", "range(1,1e9)", "range(0,10,0)", "range(3)", "interval(0,1)",
    "interval(1,0)", "sort(3,1)", "shuffle(1,2)", "tag(a,b,choice(1))", "tag(log,interval(1e-400,1))", "int(x)", "int(1e400)", "int([1,a])",
    "float(x)", "str([1,{a:b}])", "bool(2)", "json_str({a:1})", "extend_list(1)", "extend_list([[1]])", "cast(1)", "1,2,,3", ",", "1,",
    "(?P<a", "(a+)+$", "[", "*", "+", "\\1", "(?i)(", "(S)(", "http://", "sqlite:", "sqlite:////", "ftp://x", "http://[", "nosuch",
)  # fmt: skip

BROKEN = (
    "[", "]", "{", "}", "[[]", "{a:", "{a}", "[1,2", "'", '"', "'a", '"a', "a'b", "[a'b]", "{'a:b}", "${", "${}", "${a", "${:}", "${a:}",
    "\\${a}", "${a:b,c:d}", "$", "((", "a(", "a)", "[" * 200, "[" * 200 + "]" * 200, "{a:" * 100 + "1" + "}" * 100, "<<", "&a", "*a", "!!x y",
)  # fmt: skip

NESTED = (
    "[]", "{}", "[[]]", "[{}]", "{a:{}}", "[[[[1]]]]", "[1,a,null]", "[null]", "[[1],[1]]", "{a:1}", "{1:2}", "{null:1}", "{a:[1,{b:c}]}",
    "[{op:flip}]", "[{op:}]", "[{op:[1]}]", "[{op:{a:b}}]", "[{op:null}]", "[{}]", "[1]", "[{op:nosuch}]", "[{op:resize}]",
    "[{op:resize,size:[]}]", "[{op:resize,size:1e9}]", "[{op:crop,size:-1}]", "[{op:flip,p:nan}]", "[{op:flip,p:[1]}]", "[{op:rotate,degrees:{a:1}}]",
    "[{op:erase,scale:[1,2,3]}]", "[{1:2}]", "[{op:flip,_target_:os.system}]", "{name:[1]}", "{name:{a:b}}", "{lr:{}}", "{happy:[sad,sad]}",
    "{happy:happy}", "{'':['']}", "{a:[]}", "[-1]", "[48,48,48]", "[0,0]", "[1e400]", "[nan]", "[true]", "[val/acc,val/acc]", "[[val/acc]]",
    "[{label:a}]", "[{label:a,overrides:[seed=1]}]", "[a,b]", "[0,0]", "[{channels:1e9}]", "[{channels:8,depth:1000000}]", "[{channels:99999999999}]",
    "[{features:99999999999}]", "[{channels:8,kernel:99999999999}]", "[{channels:8,stride:99999999999}]",
)  # fmt: skip

RESOLVERS = (
    "${seed}", "${nosuch}", "${.name}", "${..name}", "${...}", "${name}", "${data}", "${data.path}", "${study}", "${hydra:runtime.cwd}",
    "${hydra:nosuch}", "${hydra:}", "${oc.nosuch:a}", "${oc.env}", "${oc.create:{a:1}}", "${oc.decode:'[1'}", "${oc.decode:{}}",
    "${oc.select:nosuch,1}", "${oc.deprecated:seed}", "${oc.dict.keys:data}", "${oc.dict.values:nosuch}", "${oc.path:x}", "${now:%Y}", "${now:%}",
    "${python_version:nosuch}", "${python_version:}", "${${seed}}", "a${seed}b", "${seed}${seed}", "[${seed},${nosuch}]", "{a:${seed}}", "${trainer}",
    "${optimizer}", "'${'", "${data.steps[0]}", "${augment.steps[9]}", "${augment.steps.a}",
)  # fmt: skip

HYDRA_WORDS = (
    "hydra.run.dir=/proc/nosuch", "hydra.job.chdir=true", "hydra/launcher=nosuch", "hydra/launcher=[basic,basic]", "hydra/sweeper=nosuch",
    "hydra/job_logging=nosuch", "hydra/output=x", "hydra/env=x", "hydra=x", "hydra.nosuch=1", "+hydra.nosuch=1", "hydra.mode=x", "hydra.mode=MULTIRUN",
    "hydra.searchpath=[nosuch]", "hydra.searchpath=[file:///nosuch]", "hydra.searchpath=[pkg://nosuch]", "hydra.searchpath=1", "hydra.verbose=x",
    "hydra.output_subdir=../x", "hydra.job.name=[1]", "hydra.launcher=1", "hydra.sweeper=1", "hydra.sweeper.params=1", "hydra.help=1",
    "+hydra.callbacks.x._target_=nosuch.Callback", "~hydra", "~hydra.launcher", "hydra={}", "hydra.sweeper.params={seed:x}", "hydra/help=nosuch",
)  # fmt: skip


def keys() -> list[str]:
    """Every key of the schema, sections included."""
    return list(_keys(Config, ""))


def _keys(section: Any, prefix: str) -> Iterator[str]:
    for name, hint in get_type_hints(section, include_extras=True).items():
        yield prefix + name
        bare = bare_type(hint)[0]
        inner = next((part for part in (bare, *get_args(bare)) if is_dataclass(part)), None)
        if inner is not None:
            yield from _keys(inner, f"{prefix}{name}." if inner is bare else f"{prefix}{name}.0.")


def groups() -> list[str]:
    """Every config group, Hydra's included."""
    return [folder.relative_to(conf_dir()).as_posix() for folder in sorted(conf_dir().rglob("*")) if folder.is_dir()]


def values() -> st.SearchStrategy[str]:
    """Text right of the equals sign."""
    listed = (NUMBERS, TEXTS, BROKEN, NESTED, RESOLVERS, RUNS_CODE)
    return st.one_of(
        *(st.sampled_from(some) for some in listed),
        st.text(max_size=20),
        st.text("[]{}()'\",:=$\\ \t\n~+#a1.", max_size=12),
        st.recursive(
            st.sampled_from(("1", "a", "null", "nan", "'x'", "${seed}")),
            lambda inner: (
                st.lists(inner, max_size=3).map(lambda some: f"[{','.join(some)}]")
                | st.dictionaries(st.sampled_from("abc"), inner, max_size=2).map(
                    lambda some: "{" + ",".join(f"{name}:{value}" for name, value in some.items()) + "}"
                )
            ),
            max_leaves=6,
        ),
    )


def overrides() -> st.SearchStrategy[str]:
    """One override, or something that only looks like one."""
    prefix = st.sampled_from(("", "", "", "", "", "", "+", "++", "~"))
    known = st.sampled_from(keys())
    key = st.one_of(
        known,
        known,
        known,
        known,
        st.sampled_from(groups()),
        st.sampled_from(("optimizer", "scheduler", "optimizer.lr", "optimizer.name", "scheduler.name", "optimizer.nosuch", "optimizer.betas")),
        known.map(lambda name: f"{name}.nosuch"),
        known.map(lambda name: f"{name}.0"),
        known.map(lambda name: f"{name}@nosuch"),
        st.sampled_from(("", ".", "..", "a..b", "@", "a@b", "a@b:c", "data@", "data@_global_", "model@model", "/data", "data/", "data/../model",
                         "../data", "nosuch", "data.path.", ".data", "a b", "\x00", "é", "_target_", "defaults", "_self_", "{", "[", "'data'", "study/..")),
    )  # fmt: skip
    written = st.builds(lambda start, name, value: f"{start}{name}={value}", prefix, key, values())
    return st.one_of(
        written,
        written,
        written,
        written,
        written,
        st.builds(lambda start, name: start + name, st.sampled_from(("~", "+", "++", "")), key),
        st.sampled_from(HYDRA_WORDS),
    )
