"""A table for a paper in LaTeX: with booktabs and a caption, at most as wide as the page."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import groupby

from fer_ablate.report.table.shown_table import COST, VERDICT, ShownColumn, ShownTable

PAGE = 92
"""Letters that fit side by side on an A4 or letter page in a small font; a wider table is cut into one part for each metric."""

LATIN = 0x17F
"""The last letter that pdfLaTeX sets without further packages."""

SYMBOLS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    # LaTeX joins two hyphens to a dash.
    "-": "-{}",
    "−": "$-$",  # noqa: RUF001
    "×": r"$\times$",  # noqa: RUF001
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\rightarrow$",
    "–": "--",  # noqa: RUF001
    "—": "---",
    "…": r"\ldots{}",
    "†": r"\textdagger{}",
}
"""Letters that LaTeX reads as commands, or does not have."""

SPECIAL = re.compile(rf"(?P<minus>(?<![\w\])}}-])-(?=[\d.]))|-(?=-)|_|[^\w\s-]|[^\x00-{chr(LATIN)}]")
"""Letters that may need another spelling: a minus sign, the first of two hyphens (as in `--force`), symbols, foreign letters."""


def latex(shown: ShownTable) -> str:
    """A whole `table` environment; a comment on its first line names the packages that it needs.

    Verdicts are cut to their first words, since the difference with its interval stands beside them.
    """
    tabulars = [_tabular(part) for part in _parts(shown)]
    stack = "\\\\\\noalign{\\medskip}\n".join(tabular.strip() for tabular in tabulars)
    if len(tabulars) > 1:
        stack = f"\\begin{{tabular}}{{@{{}}l@{{}}}}\n{stack}\n\\end{{tabular}}"
    lines = [
        *_preamble(shown),
        r"\begin{table}",
        r"\centering",
        r"\setlength{\belowcaptionskip}{6pt}",
        rf"\caption{{{latex_text(shown.caption)}}}",
        rf"\label{{tab:{_slug(shown.study)}}}",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        # Smaller if it is wider than the page, but never larger.
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        stack + "}",
    ]
    if shown.notes:
        lines += [r"\par\medskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright"]
        lines += [_breakable(latex_text(note)) + r"\par" for note in shown.notes]
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def latex_text(text: str) -> str:
    """Text that LaTeX prints letter by letter, with Greek letters and minus signs as in formulas."""
    return SPECIAL.sub(lambda found: "$-$" if found["minus"] else _letter(found[0]), unicodedata.normalize("NFC", text))


def _letter(found: str) -> str:
    name = unicodedata.name(found[0], "")
    if name.startswith("GREEK SMALL LETTER ") and name.count(" ") == 3:
        return f"$\\{name.rpartition(' ')[2].lower().replace('lamda', 'lambda')}$"
    return SYMBOLS.get(found, found)


def _preamble(shown: ShownTable) -> list[str]:
    lines = [r"% Needs \usepackage{booktabs} and \usepackage{graphicx}."]
    text = latex_text(" ".join([shown.caption, *shown.notes, *(cell for column in shown.columns for cell in column.cells)]))
    foreign = sorted({letter for letter in text if ord(letter) > LATIN})
    if foreign:
        lines.append(f"% pdfLaTeX has no {' '.join(foreign)}: compile with XeLaTeX or LuaLaTeX and a font that does.")
    return lines


def _parts(shown: ShownTable) -> list[list[ShownColumn]]:
    """The table in one piece if that fits the page; otherwise one piece for each metric and one for the costs."""
    columns = [_short(column) for column in shown.columns]
    label = columns[0]
    whole = sum(max(map(len, [column.name, *column.cells])) + 1 for column in columns)
    if whole <= PAGE:
        return [columns]
    pieces = [[column for column in columns if column.group == group] for group in shown.groups]
    leading = [column for column in columns if column.group == ""]
    return [[*([label] if piece[0].group == COST else leading), *piece] for piece in pieces]


def _short(column: ShownColumn) -> ShownColumn:
    if column.name != VERDICT:
        return column
    return ShownColumn(column.group, column.name, tuple(re.split(r" by | \(|:", cell)[0] for cell in column.cells))


def _tabular(columns: Sequence[ShownColumn]) -> str:
    import pandas as pd

    frame = pd.DataFrame(
        {(latex_text(column.group), latex_text(column.name)): map(latex_text, column.cells) for column in columns}
    )
    # A bracket or an asterisk after the end of a line would be taken for its option.
    frame.iloc[:, 0] = [f"{{}}{label}" if label[:1] in ("[", "*") else label for label in frame.iloc[:, 0]]
    style = frame.style.hide(axis="index")
    layout = "@{}" + "".join("l" if column.words else "r" for column in columns) + "@{}"
    lines = style.to_latex(column_format=layout, hrules=True, multicol_align="c").splitlines()
    # The titles of groups are on the line after the top rule; pandas draws no rules below them.
    lines.insert(lines.index(r"\toprule") + 2, _rules(columns))
    return "\n".join(lines)


def _rules(columns: Sequence[ShownColumn]) -> str:
    """The lines below the titles of groups."""
    rules, first = [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        last = first + len(list(members)) - 1
        if group:
            rules.append(rf"\cmidrule({'lr' if last < len(columns) else 'l'}){{{first}-{last}}}")
        first = last + 1
    return " ".join(rules)


def _breakable(text: str) -> str:
    """Paths may go on in the next line after a slash."""
    return text.replace("/", r"/\allowbreak{}")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
