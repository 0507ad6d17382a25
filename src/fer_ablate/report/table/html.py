"""A table as a page of HTML that stands alone: no scripts, no further files."""

from collections.abc import Sequence
from html import escape

from fer_ablate.report.table.shown_table import ShownTable

COLOURS = """
:root { color-scheme: light dark;
  --ink: #1a1a1a; --paper: #fff; --line: #c8c8c8; --soft: #666; --better: #00634a; --worse: #a03c00; --same: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #16181b; --line: #44484d; --soft: #a0a4a8;
    --better: #4fd1a5; --worse: #ff9d5c; --same: #8cc2ff; }
}
"""
"""Colour-blind readers can distinguish the colours of verdicts, and the words carry the same information."""

TABLES = """
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem .7rem; text-align: right; }
th { font-weight: 600; }
thead tr:first-child th { text-align: left; }
thead tr:first-child th:not(:empty) { border-bottom: 1px solid var(--line); }
thead tr:last-child th { border-bottom: 2px solid var(--line); }
tbody td { border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper); }
thead tr:first-child th:first-child { position: static; }
@media (max-width: 60rem) { td:first-child { white-space: normal; min-width: 7rem; max-width: 40vw; overflow-wrap: anywhere; } }
.words { text-align: left; }
.better { color: var(--better); } .worse { color: var(--worse); } .same, .not_worse { color: var(--same); }
.noise, .same_runs, .open { color: var(--soft); }
"""
"""Style of a judged table in any page."""

STYLE = f"""{COLOURS}
body {{ margin: 0; padding: 1rem; background: var(--paper); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }}
main {{ max-width: max-content; margin: 0 auto; }}
.scroll {{ overflow-x: auto; max-width: calc(100vw - 2rem); }}
.text {{ max-width: min(70rem, calc(100vw - 2rem)); overflow-wrap: anywhere; }}
{TABLES}
ul {{ color: var(--soft); padding-left: 1.2rem; }}
"""


def html(shown: ShownTable, reports: Sequence[ShownTable] = ()) -> str:
    """The whole page; on a narrow screen the tables scroll, not the page.

    Args:
        shown: the judged table.
        reports: classification reports, which stand below it.
    """
    named = {f"classes{place}": report for place, report in enumerate(reports)}
    styles = "".join(column_styles(report, name) for name, report in named.items())
    below = "".join(
        f'<p class="text">{escape(report.caption)}</p>\n<div class="scroll">\n{table_html(report, name)}</div>\n' + _notes(report)
        for name, report in named.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(shown.study)}</title>
<style>{STYLE}{column_styles(shown)}{styles}</style>
</head>
<body>
<main>
<p class="text" id="caption">{escape(shown.caption)}</p>
<div class="scroll" tabindex="0" role="region" aria-labelledby="caption">
{table_html(shown)}</div>
{_notes(shown)}
{below}</main>
</body>
</html>
"""


def _notes(shown: ShownTable) -> str:
    notes = "".join(f"<li>{escape(note)}</li>\n" for note in shown.notes)
    return f'<ul class="text">{notes}</ul>' if notes else ""


def table_html(shown: ShownTable, name: str = "study") -> str:
    """The table alone, as the element `T_<name>`; labels are escaped."""
    import pandas as pd  # takes a second, which a table on the screen would wait for in vain

    # A Styler needs different titles, and those of data sets may be anything; blanks at their ends do not show.
    titles: list[tuple[str, str]] = []
    for column in shown.columns:
        title = column.name
        while (column.group, title) in titles:
            title += " "
        titles.append((column.group, title))
    frame = pd.DataFrame(dict(zip(titles, (column.cells for column in shown.columns), strict=True)))
    classes = pd.DataFrame("", index=frame.index, columns=frame.columns)
    for place, column in enumerate(shown.columns):
        if column.words and place:
            classes.isetitem(place, [f"words {mark}".strip() for mark in column.marks or [""] * len(column.cells)])
    style = frame.style.hide(axis="index").format(escape="html").format_index(escape="html", axis="columns")
    return style.set_td_classes(classes).to_html(table_uuid=name, table_attributes='aria-describedby="caption"')


def column_styles(shown: ShownTable, name: str = "study") -> str:
    """Rules for the table `T_<name>`: titles are aligned as their columns are, and groups are set apart."""
    groups = [column.group for column in shown.columns]
    first = [f"#T_{name} .col{place}" for place, group in enumerate(groups) if place and group != groups[place - 1]]
    words = [f"#T_{name} th.level1.col{place}" for place, column in enumerate(shown.columns) if column.words]
    # A rule needs a selector, and no element is called `none`.
    return f"{', '.join(first) or 'none'} {{ padding-left: 2rem; }}\n{', '.join(words)} {{ text-align: left; }}\n"
