"""The judged table on a page: which columns are shown, and where its bars are."""

import re
from dataclasses import replace

import pytest

from fer_ablate.judgement.judged_table import Difference, Verdict
from fer_ablate.report.page.elements import Details, Facts, Results, Section, rendered
from fer_ablate.report.page.results import legend, result_parts
from fer_ablate.report.table.shown_table import shown_table

from .example_tables import difference, fer_kd_table, long_table, odd_tables, row, score, table, unfinished_table

ODD = odd_tables()


def parts_of(given):
    return result_parts(given, shown_table(given))


def bars_of(part):
    """Label -> bar of the rows that have one, and the axis."""
    (column,) = (one for one in part.columns if one.axis is not None)
    return {label: bar for label, bar in zip(part.columns[0].cells, column.cells, strict=True) if bar is not None}, column.axis


def apart(*differences):
    """A table of rows with these differences and half widths."""
    rows = [row("base", {"test/acc": score(0.6)}, baseline=True)]
    rows += [row(f"r{place}", {"test/acc": score(0.6, difference=one)}) for place, one in enumerate(differences)]
    return table(rows)


def page_of(given):
    return rendered("t", "k", "", Facts(()), (Section("results", "Results", tuple(parts_of(given))),))


def test_test_is_open_and_val_after_a_click():
    first, second = parts_of(fer_kd_table())
    assert (first.caption, second.title) == ("test acc, %; differences in points", "val acc, %; differences in points")
    assert isinstance(second, Details)
    first, unmeasured = parts_of(replace(fer_kd_table(), columns=("test/acc", "test/macro_f1")))
    assert isinstance(unmeasured, Details)
    (only,) = parts_of(replace(fer_kd_table(), columns=("val/acc",)))
    assert isinstance(only, Results)


def test_numbers_beyond_the_verdict_have_switches():
    first, second = parts_of(fer_kd_table())
    shown = {column.title: column.switch for column in first.columns}
    assert [title for title, switch in shown.items() if not switch] == ["row", "n", "mean ± sd", "difference", "", "verdict"]
    assert {switch.key for switch in first.switches} == {"intervals", "published", "costs"}
    assert [switch.key for switch in first.switches if switch.on] == ["published"]
    assert not [column for column in second.parts[0].columns if column.switch == "costs"]


def test_long_labels_leave_no_room_for_published():
    given = fer_kd_table()
    longer = replace(given, rows=tuple(replace(one, label=one.label + " of the document") for one in given.rows))
    assert not [switch for switch in parts_of(longer)[0].switches if switch.on]


def test_bars_start_at_zero():
    up, down = difference(0.03, 0.01), difference(-0.02, 0.01)
    bars, axis = bars_of(parts_of(apart(up, down))[0])
    assert (bars["r0"].verdict, bars["r1"].verdict) == ("better", "worse")
    assert bars["r0"].left == bars["r0"].zero == bars["r1"].zero == bars["r1"].left + bars["r1"].length
    assert bars["r0"].length == pytest.approx(1.5 * bars["r1"].length, abs=0.05)
    low, high = bars["r0"].ends
    assert high - bars["r0"].value == pytest.approx(bars["r0"].value - low, abs=0.05)
    assert dict(axis.ticks)[bars["r0"].zero] == "0"
    assert [text for _, text in axis.ticks] == ["-2", "0", "+2", "+4"]
    assert bars["r0"].words == "+3.0 [+2.0, +4.0]"


def test_a_far_interval_leaves_the_axis():
    bars, _ = bars_of(parts_of(apart(difference(0.01, 0.01), difference(0.0, 0.01), difference(0.02, 0.9)))[0])
    assert bars["r2"].beyond == ("left", "right")
    assert 0 <= bars["r2"].ends[0] < bars["r2"].ends[1] <= 100
    assert bars["r0"].beyond == ()
    assert bars["r0"].length > 5


def test_one_seed_has_a_bar_without_interval():
    bars, _ = bars_of(parts_of(fer_kd_table(1))[0])
    assert {(bar.ends, bar.verdict) for bar in bars.values()} == {(None, "untested")}
    assert "dashed" in legend(fer_kd_table(1))


def test_the_margin_is_a_band_around_zero():
    inside = Difference(0.002, -0.004, 0.008, 0.5, 0.5, "the same within 1 point (-0.4 to +0.8)", Verdict.same)
    given = replace(apart(inside), margin=1.0)
    bars, _ = bars_of(parts_of(given)[0])
    assert bars["r0"].margin[0] <= bars["r0"].ends[0] < bars["r0"].zero < bars["r0"].ends[1] <= bars["r0"].margin[1]
    assert legend(given).endswith("The gray band is the margin of the study, 1 point up and down.")


def test_ranks_put_the_best_row_first():
    first = parts_of(fer_kd_table())[0]
    labels = first.columns[0].cells
    assert labels[first.ranks.index(0)] == "+1 Conv"
    assert labels[first.ranks.index(7)] == "-4 Conv"
    assert labels[first.baseline] == "FER_KD (baseline)"
    assert parts_of(ODD["nothing run"])[0].ranks == ()


def test_every_row_can_be_sorted_without_network():
    page = page_of(fer_kd_table())
    rows = re.findall(r'data-written="(\d)" data-rank="(\d)"', page)
    assert len(rows) == 2 * 8
    assert [written for written, _ in rows[:8]] == [str(place) for place in range(8)]
    assert page.count("<script>") == 1
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert '<fieldset class="order" hidden>' in page  # until the script runs


def test_signs_and_words_stand_beside_colours():
    page = page_of(fer_kd_table())
    assert re.search(r'class="bar worse" role="img" aria-label="-16.8 \[-18.0, -15.6\]"', page)
    assert re.search(r'<td class="words worse">worse by 15.6 to 18.0 points</td>', page)


@pytest.mark.parametrize("name", ODD)
def test_odd_tables_are_on_the_page(name):
    page = page_of(ODD[name])
    assert page.count("<tr") >= len(ODD[name].rows)
    assert "nan%" not in page
    assert "<b>" not in page


@pytest.mark.parametrize("given", [unfinished_table(), long_table(14)], ids=["unfinished", "14 rows"])
def test_pages_are_reproducible(given):
    assert page_of(given) == page_of(given)
