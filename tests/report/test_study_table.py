import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_ablate.config.study_rows import Repeat
from fer_ablate.errors import UserError
from fer_ablate.judgement.judged_table import Failure, JudgedTable, Published, TableRow
from fer_ablate.report.quantities import count, decimals, duration, number, shorten
from fer_ablate.report.table.formats import FORMATS, markdown_lines, render_table
from fer_ablate.report.table.html import table_html
from fer_ablate.report.table.latex import latex_text
from fer_ablate.report.table.narrow import columns_width
from fer_ablate.report.table.shown_table import ShownColumn, ShownTable, shown_table
from fer_ablate.report.table.terminal import console_tables

from .example_tables import difference, fer_kd_table, long_table, odd_tables, row, score, table, unfinished_table

ODD = odd_tables()

PATHS = st.text(min_size=1).map(Path)
FACTORS = st.none() | st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
FAILURES = st.lists(st.builds(Failure, log=PATHS), max_size=2).map(tuple)
ROWS = st.builds(TableRow, factor=FACTORS, failures=FAILURES)
TABLES = st.builds(JudgedTable, rows=st.lists(ROWS, max_size=3).map(tuple))
"""Any table that the types allow, with NaN, infinity and None wherever they may be."""


def column(shown, group, name):
    """The cells below a title, by the label of their row."""
    labels = next(one.cells for one in shown.columns if one.name == "row")
    found = next(one.cells for one in shown.columns if (one.group, one.name) == (group, name))
    return dict(zip(labels, found, strict=True))


class Words(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_cells_hold_all_that_is_judged():
    one = score(0.6284, 0.0041, published=Published(62.62), gap=0.22, agrees=True)
    shown = shown_table(table([row("FER_KD", {"test/acc": one}, baseline=True, published={"test/acc": Published(62.62)})]))
    found = {name.name: name.cells[0] for name in shown.columns}
    assert found["row"] == "FER_KD (baseline)"
    assert found["n"] == "3"
    assert found["mean ± sd"] == "62.8 ± 0.4"
    assert found["95 % interval"] == "[61.9, 63.7]"
    assert (found["published"], found["gap"], found["agrees"]) == ("62.62", "+0.2", "yes")
    assert (found["parameters"], found["MACs"], found["time"], found["memory"]) == ("3.66 M", "515.7 M", "12.6 min", "1.8 GiB")


def test_each_metric_has_columns_with_its_unit():
    assert shown_table(fer_kd_table()).groups == ("test acc, %", "val acc, %", "cost")
    loss = table([row("a", {"test/loss": score(1.0234, 0.012)})], columns=("test/loss",))
    assert shown_table(loss).groups == ("test loss", "cost")
    assert column(shown_table(loss), "test loss", "mean ± sd") == {"a": "1.023 ± 0.012"}


def test_columns_that_say_nothing_are_left_out():
    names = {one.name for one in shown_table(table([row("a", {"test/acc": score(0.6)})])).columns}
    assert not names & {"difference", "verdict", "published", "gap", "agrees"}


def test_one_seed_has_no_spread_or_agreement():
    shown = shown_table(fer_kd_table(1))
    assert set(column(shown, "test acc, %", "score").values()) >= {"62.1 (n=1)"}
    assert "n=1: these two networks only" in column(shown, "test acc, %", "verdict")["+1 Conv"]
    assert "agrees" not in {one.name for one in shown.columns}


def test_a_table_over_folds_counts_its_runs():
    repeats = [Repeat(0, 0), Repeat(0, 1), Repeat(1, 0)]
    failed = Failure(1, "no room", Path("log.txt"), 1)
    rows = [
        row("base", {"test/acc": score(0.6)}, seeds=(0, 1), finished=(*repeats, Repeat(1, 1)), folds=2, baseline=True),
        row("more", {"test/acc": score(0.7, difference=difference(0.1, 0.05))}, seeds=(0, 1), finished=repeats, folds=2),
        row("other", seeds=(0, 1), finished=(), folds=2, failures=(failed,)),
    ]
    judged = replace(table(rows), folds=2)
    shown = shown_table(judged)
    assert column(shown, "", "runs") == {"base (baseline)": "4", "more": "3/4", "other": "0/4"}
    assert column(shown, "test acc, %", "verdict")["other"] == "failed (seed 1, fold 1): no room"
    assert "Mean ± standard deviation over folds; [a, b] is a 95 % interval over folds;" in shown.caption
    assert "other, seed 1, fold 1 failed: no room (log: log.txt)" in shown.notes
    read = pd.read_csv(io.StringIO(render_table(judged, "csv")))
    assert list(read["folds_asked"]) == [2, 2, 2]
    assert read["seeds"][1] == "0/0 0/1 1/0"


def test_rows_without_a_score_say_why():
    shown = shown_table(unfinished_table())
    verdicts = column(shown, "test acc, %", "verdict")
    assert verdicts["+1 Conv"] == "not yet run"
    assert verdicts["-2 Conv"] == "failed (seed 1): RuntimeError: CUDA…"
    assert column(shown, "", "n") == {
        "FER_KD (baseline)": "2/3",
        "+1 Conv": "0/3",
        "-2 Conv": "0/3",
        "+1 FC †": "3",
        "-1 Conv": "1/3",
    }


def test_notes_explain_marks_and_point_to_logs():
    notes = "\n".join(shown_table(unfinished_table()).notes)
    assert "† 2 of the runs counted here are of an earlier config, data or code." in notes
    assert "-2 Conv, seed 1 failed: RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB (log: runs/fer_kd" in notes
    assert "Traceback" not in notes
    assert "Published test acc of FER_KD: PublicTest." in shown_table(fer_kd_table()).notes


def test_the_caption_tells_what_was_tested():
    caption = shown_table(fer_kd_table()).caption
    assert caption.startswith("fer_kd/table1: FER_KD, Table 1. Tested with source fer2013, roles swapped,")
    assert "[a, b] is a 95 % interval over test images and seeds; differences are row minus baseline (FER_KD)." in caption
    assert "standard deviation" not in shown_table(fer_kd_table(1)).caption


def test_tiny_spreads_get_one_more_digit():
    assert decimals("test/acc", [0.004, 0.006]) == 1
    assert decimals("test/acc", [0.0004, 0.0006, float("nan")]) == 2
    assert decimals("test/loss", [0.02]) == 3
    assert decimals("test/acc", [float("nan")]) == 1


def test_numbers_read_as_people_write_them():
    assert [count(value) for value in (640, 98_310, 3_660_000, 10_479_111, 1_190_000_000)] == [
        "640",
        "98.3 k",
        "3.66 M",
        "10.5 M",
        "1.19 G",
    ]
    assert [duration(value) for value in (42, 210, 7560)] == ["42 s", "3.5 min", "2.1 h"]
    assert (number(-0.01, 1, signed=True), number(float("nan"), 1)) == ("+0.0", "—")
    assert shorten("optimizer.lr=0.0001", 11) == "optim….0001"


def test_columns_have_equally_many_digits():
    assert set(column(shown_table(fer_kd_table()), "test acc, %", "published").values()) >= {"46.20", "53.84"}


def test_markdown_is_an_aligned_table_with_notes():
    lines = render_table(fer_kd_table(), "markdown").splitlines()
    grid = [line for line in lines if line.startswith("|")]
    assert len(grid) == 2 + 8
    assert len({len(line) for line in grid}) == 1
    assert re.fullmatch(r"\|( -+:? \|)+", grid[1])
    assert "test acc, %: mean ± sd" in grid[0]
    assert "val acc: verdict" in grid[0]
    assert lines[0].startswith("fer_kd/table1: FER_KD, Table 1.")
    assert lines[-1] == "- Published test acc of FER_KD: PublicTest."


def test_markdown_escapes_markup_in_labels():
    text = render_table(ODD["strange labels"], "markdown")
    grid = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in grid}) == 1
    assert r"\<b>β_1 & 50% #2 {x} \~ ^ \\ \$a\$ \| é 表 [y]\</b> (baseline)" in text
    assert r"| [x] \* " in text
    assert r"| \_hidden \$ " in text


def test_titles_may_be_anything():
    shown = ShownTable("a", "", (ShownColumn("", "row", ("x",)), *(ShownColumn("t", "a|<b>", (n,)) for n in "123")), ())
    header, rule, body = markdown_lines(shown).splitlines()
    assert header.count("|") - header.count(r"\|") == rule.count("|") == body.count("|") == 5
    assert r"a\|\<b>" in header
    text = table_html(shown, "costs")
    assert re.findall("<td[^>]*>([^<]*)</td>", text) == ["x", "1", "2", "3"]
    assert '<table id="T_costs"' in text


def test_latex_is_a_table_with_titles_and_rules():
    text = render_table(fer_kd_table(), "latex")
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended)
    assert begun[0] == ended[-1] == "table"
    assert r"\multicolumn{7}{c}{test acc, \%}" in text
    assert r"\cmidrule(l){3-9}" in text
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 3
    assert r"\label{tab:fer-kd-table1}" in text
    assert "62.1 $\\pm$ 0.3" in text
    assert r"$-$4 Conv & 3 & " in text
    assert text.startswith(r"% Needs \usepackage{booktabs} and \usepackage{graphicx}.")


def test_latex_rows_have_a_cell_per_column():
    for name, odd in ODD.items():
        for layout, body in re.findall(
            r"\\begin{tabular}{@{}([lr]+)@{}}\n\\toprule(.*?)\\bottomrule", render_table(odd, "latex"), re.S
        ):
            for line in re.findall(r"^(?!\\)(.*) \\\\$", body, re.M)[1:]:
                assert len(re.findall(r"(?<!\\)&", line)) == len(layout) - 1, name


def test_latex_of_a_small_table_is_one_piece():
    text = render_table(table([row("a", {"test/acc": score(0.6)}), row("b", {"test/acc": score(0.61)})]), "latex")
    assert text.count(r"\begin{tabular}") == 1
    assert r"\multicolumn{2}{c}{} & \multicolumn{2}{c}{test acc, \%} & \multicolumn{4}{c}{cost}" in text
    assert r"\cmidrule(lr){3-4} \cmidrule(l){5-8}" in text


def test_latex_marks_best_and_different_rows():
    text = render_table(fer_kd_table(), "latex")
    lines = {line.split(" & ")[0]: line for line in text.split(r"\bottomrule")[0].splitlines() if " & " in line}
    assert r"& \textbf{63.7 $\pm$ 0.5} &" in lines["+1 Conv"]
    assert r"& 53.5 $\pm$ 0.6\rlap{$^{*}$} &" in lines[r"$-$3 Conv"]
    assert "*" not in lines["+1 FC"]
    assert text.count(r"\textbf") == 2
    assert "Bold: the best mean of its column. *: differs from the baseline (p $<$ 0.05".replace("$<$", r"\textless{}") in text
    assert "*:" not in render_table(fer_kd_table(1), "latex")


def test_a_long_latex_table_breaks_over_pages():
    text = render_table(long_table(71, 3), "latex")
    assert text.startswith(r"% Needs \usepackage{booktabs} and \usepackage{xltabular}.")
    assert "{table}" not in text
    assert text.count(r"\begin{xltabular}") == text.count(r"\end{xltabular}") == text.count(r"\endhead") == 2
    assert text.count(r"\caption{") == text.count(r"\label{") == 1  # the other parts are of the same number
    first, second = (part.split(r"\endfoot")[1].splitlines()[1:72] for part in text.split(r"\end{xltabular}")[:2])
    assert {len(re.findall(r"(?<!\\)&", line)) for line in first} == {4}
    assert {len(re.findall(r"(?<!\\)&", line)) for line in second} == {5}
    assert r"& mean $\pm$ sd & difference & verdict \\" in text
    assert "71 rows" not in text


def test_long_latex_labels_may_break():
    text = render_table(long_table(3, 3), "latex")
    assert r">{\raggedright\arraybackslash}p{20em}" in text
    assert r"optimizer=\allowbreak{}sgd\_\allowbreak{}nesterov scheduler=\allowbreak{}plateau" in text
    assert r"\usepackage{array}" in text.splitlines()[0]


LATEX_LABELS = [r"a_b & 50% #2 {x} ~ ^ \ $a$", "é ß ü Å ő β Δ Α µ", "< > | ` ' \" – — … -- -1 ± × ≤ †", "[x]", "* y", "\\"]  # noqa: RUF001


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_as_it_is(tmp_path):
    labels = table([row(label, {"test/acc": score(0.6)}, baseline=not place) for place, label in enumerate(LATEX_LABELS)])
    given = [fer_kd_table(), fer_kd_table(1), unfinished_table(), long_table(71, 3), labels, ODD["nothing run"], ODD["no row"]]
    tables = [render_table(one, "latex") for one in given]
    packages = dict.fromkeys(found for text in tables for found in re.findall(r"\\usepackage{\w+}", text.split("\n")[0]))
    preamble = "\n".join([r"\documentclass{article}", *packages, r"\begin{document}"])
    (tmp_path / "all.tex").write_text("\n".join([preamble, *tables, r"\end{document}"]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout


def test_latex_verdicts_are_short():
    text = render_table(fer_kd_table(), "latex")
    assert "& within noise &" in text
    assert "& worse &" in text
    assert "could be" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 50% #1 {x}", r"a\_b \& 50\% \#1 \{x\}"),
        (r"~ ^ \ $ < > |", r"\textasciitilde{} \textasciicircum{} \textbackslash{} \$ \textless{} \textgreater{} \textbar{}"),
        ("β=0.9, λ", r"$\beta$=0.9, $\lambda$"),
        ("-1 Conv, lr=1e-4, [-0.5, +0.5]", "$-$1 Conv, lr=1e-4, [$-$0.5, +0.5]"),
        ("--force — é", "-{}-force --- é"),
    ],
    ids=["specials", "signs", "Greek", "minus signs", "dashes"],
)
def test_latex_shows_text_letter_by_letter(text, expected):
    assert latex_text(text) == expected


def test_latex_guards_odd_labels_and_letters():
    text = render_table(ODD["strange labels"], "latex")
    assert "\n{}[x] * & 3" in text
    assert "% pdfLaTeX has no 表: compile with XeLaTeX or LuaLaTeX" in text


def test_csv_has_full_numbers_per_row_and_metric():
    given = fer_kd_table()
    back = pd.read_csv(io.StringIO(render_table(given, "csv")))
    assert len(back) == len(given.rows) * len(given.columns)
    for (_, line), (one, name) in zip(
        back.iterrows(), ((one, name) for one in given.rows for name in given.columns), strict=True
    ):
        there = one.scores[name]
        assert (line["row"], line["column"], line["baseline"], line["n"]) == (one.label, name, one.baseline, there.n)
        assert (line["mean"], line["sd"], line["ci_low"], line["ci_high"]) == (there.mean, there.sd, there.low, there.high)
        assert (line["published"], line["published_unit"], line["gap"]) == (there.published.value, "percent", there.gap)
        if there.difference:
            assert (line["difference"], line["p_holm"]) == (there.difference.value, there.difference.p_holm)
            assert line["verdict"] == there.difference.verdict
        assert (line["parameters"], line["seconds"]) == (one.parameters, one.seconds)


def test_csv_leaves_empty_what_is_not_there():
    back = pd.read_csv(io.StringIO(render_table(unfinished_table(), "csv"))).set_index("row")
    assert pd.isna(back.loc["+1 Conv", "mean"])
    assert back.loc["+1 Conv", ["n", "published"]].tolist() == [0, 63.14]
    assert back.loc["-1 Conv", ["n", "seeds_asked"]].tolist() == [1, "0 1 2"]
    assert back.loc["-2 Conv", "failed"].startswith("seed 1: RuntimeError: CUDA out of memory")
    assert back.loc["+1 FC", "stale"] == 2


@pytest.mark.long
@settings(max_examples=10, deadline=None)
@given(TABLES)
def test_json_gives_back_every_table(judged):
    back = JudgedTable.from_json(judged.to_json())
    assert repr(back) == repr(judged)  # NaN is not equal to itself, its repr is


@pytest.mark.parametrize("name", ODD)
def test_json_has_no_constants_that_other_programs_refuse(name):
    def refuse(constant):
        raise AssertionError(constant)

    text = render_table(ODD[name], "json")
    assert len(json.loads(text, parse_constant=refuse)["rows"]) == len(ODD[name].rows)
    assert render_table(JudgedTable.from_json(text), "csv") == render_table(ODD[name], "csv")


def test_html_is_a_page_with_plain_text_labels():
    page = Words(render_table(ODD["strange labels"], "html"))
    assert not {"b", "script", "img", "link"} & set(page.tags)
    assert "<b>β_1 & 50% #2 {x} ~ ^ \\ $a$ | é 表 [y]</b> (baseline)" in page.text
    assert {"table", "style", "main"} <= set(page.tags)


def test_html_has_group_titles_and_verdict_classes():
    text = render_table(fer_kd_table(), "html")
    assert re.search(r'colspan="7"\s*>test acc, %</th>', text)
    assert len(re.findall(r'class="[^"]*words worse', text)) == sum(
        "worse" in cell for cell in re.findall(r">worse by [^<]*<", text)
    )
    assert "prefers-color-scheme: dark" in text


@pytest.mark.long
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ODD)
def test_every_format_takes_odd_tables_reproducibly(name, form):
    assert render_table(ODD[name], form) == render_table(ODD[name], form)


def test_an_unknown_format_names_the_nearest():
    with pytest.raises(UserError, match=r"format=latec: there is no such table format. Did you mean 'latex'\?"):
        render_table(fer_kd_table(), "latec")


@pytest.mark.parametrize("width", [140, 100, 80, 60, 40])
def test_the_console_gets_tables_that_fit(width):
    for judged in (fer_kd_table(), unfinished_table(), long_table()):
        parts = console_tables(judged, width)
        assert list(dict.fromkeys(part.title for part in parts)) == list(shown_table(judged).groups)
        for part in parts:
            assert all(len(line) == len(part.header) for line in part.rows)
            assert columns_width(zip(part.header, *part.rows, strict=True)) <= width
            assert len({line[0] for line in part.rows}) == len(judged.rows)
            assert "…" not in "".join(cell for line in part.rows for cell in line[1:]).replace("CUDA…", "")


def test_a_narrow_console_gives_verdicts_several_lines():
    table = console_tables(long_table(), 60)[0]
    assert table.header == ("row", "n", "score", "verdict")
    assert table.rows[1] == ("adam plateau", "1", "63.5 (n=1)", "n=1: these two networks\nonly (p = 0.21)")
    assert table.rows[0][0] == "sgd_nesterov\nplateau (baseline)"
    assert table.rows[7][0] == "sgd_nesterov\ncosine_annealing"
    assert table.below == (("rows", "values of optimizer, scheduler"),)


def test_a_narrow_console_still_shows_the_verdict():
    wide, narrow = (console_tables(fer_kd_table(), width)[1].header for width in (140, 90))
    assert wide == ("row", "n", "mean ± sd", "difference", "verdict", "published", "gap", "agrees")
    assert narrow == ("row", "n", "mean ± sd", "difference", "verdict")


def test_a_narrow_console_keeps_verdicts_short():
    words = "within noise (could be -0.6 to +1.4; about 31 seeds would show 0.4)"
    found = replace(difference(0.004, 0.01), verdict=words)
    given = table(
        [row("base", {"test/acc": score(0.6)}, baseline=True), row("a" * 60, {"test/acc": score(0.6, difference=found)})]
    )
    wide, narrow = (console_tables(given, width)[0] for width in (160, 100))
    assert wide.rows[1][4] == words
    assert narrow.header == ("row", "n", "mean ± sd", "difference", "verdict")
    assert narrow.rows[1][3:] == ("+0.4", "within noise (could be -0.6 to +1.4)")


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("width", [140, 60, 20])
def test_the_console_takes_odd_tables(name, width):
    for part in console_tables(ODD[name], width):
        assert len(part.rows) == len(ODD[name].rows)
        assert "" not in part.header
