"""A table for a paper in LaTeX: with booktabs and a caption, at most as wide as the page; long ones go on on the next page."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from fer_ablate.judgement.judged_table import LEVEL
from fer_ablate.report.table.outcomes import DECIDED
from fer_ablate.report.table.shown_table import (
    AGREES,
    BEST,
    COST,
    DIFFERENCE,
    GAP,
    INTERVAL,
    MEAN,
    NEAR,
    NETWORK,
    PUBLISHED,
    ROW,
    SINGLE,
    VERDICT,
    ShownColumn,
    ShownTable,
)

PAGE = 92
"""Letters that fit side by side on an A4 or letter page in a small font; a wider table is cut into one part for each metric."""

LINES = 40
"""Lines of a table that fit on a page together with its caption; a longer one goes on on the next page."""

ROOM, BETWEEN = 62, 2
"""Letters beside the labels in a table of several pages, which is not made smaller as a whole, and between two columns."""

LONG_LABEL = 44
"""Letters of the longest label that stays in one line."""

LONG_LABELS = r">{\raggedright\arraybackslash}p{20em}"
"""Layout of a column of longer ones."""

LABEL_BREAKS = re.compile(r"(=|/|,|\\_)(?=\S)")
"""Where a long label may go on in the next line, beside its blanks."""

STAR = "*"
"""Mark of means of rows that differ from the baseline."""

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
    "`": r"\textasciigrave{}",
    "µ": r"$\mu$",
}
"""Letters that LaTeX reads as commands, or does not have."""

SPECIAL = re.compile(rf"(?P<minus>(?<![\w\])}}-])-(?=[\d.]))|-(?=-)|_|[^\w\s-]|[^\x00-{chr(LATIN)}]")
"""Letters that may need another spelling: a minus sign, the first of two hyphens (as in `--force`), symbols, foreign letters."""

GREEK_CAPITALS = ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")
"""Greek capitals that LaTeX has; the others look like Latin letters."""

LATIN_LIKE = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True))  # noqa: RUF001
"""Greek letters that LaTeX prints as Latin ones."""


def latex(shown: ShownTable) -> str:
    """A whole `table` environment, or an `xltabular` for each part of a long table; comments name the packages that it needs.

    Verdicts are cut to their first words, since the difference with its interval stands beside them. The best mean of each
    column is bold, those not shown to be worse are italic, and a star marks rows that differ from the baseline.
    """
    caption = " ".join(filter(None, (shown.caption, *_meanings(shown))))
    parts = _parts(shown)
    long = sum(len(shown.columns[0].cells) + 4 for _ in parts) > LINES
    body = _pages(shown, caption) if long else _float(shown, caption, parts)
    return "\n".join([*_preamble(shown, caption, long), *body]) + "\n"


def _float(shown: ShownTable, caption: str, parts: Sequence[Sequence[ShownColumn]]) -> list[str]:
    """A table on one page, its parts below each other."""
    tabulars = [_tabular(part) for part in parts]
    stack = "\\\\\\noalign{\\medskip}\n".join(tabulars)
    if len(tabulars) > 1:
        stack = f"\\begin{{tabular}}{{@{{}}l@{{}}}}\n{stack}\n\\end{{tabular}}"
    notes = [r"\par\medskip", r"\begin{minipage}{\linewidth}", *_notes(shown), r"\end{minipage}"] if shown.notes else []
    return [
        r"\begin{table}",
        r"\centering",
        r"\setlength{\belowcaptionskip}{6pt}",
        rf"\caption{{{latex_text(caption)}}}",
        rf"\label{{tab:{_slug(shown.study)}}}",
        r"\small",
        r"\setlength{\tabcolsep}{4pt}",
        # Smaller if it is wider than the page, but never larger.
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        stack + "}",
        *notes,
        r"\end{table}",
    ]


def _pages(shown: ShownTable, caption: str) -> list[str]:
    """A table that goes on on the next page, part after part; xltabular counts none with an empty option of `caption`."""
    lines = [r"\begingroup\footnotesize", r"\setlength{\tabcolsep}{4pt}", r"\setlength{\LTcapwidth}{\linewidth}"]
    for place, part in enumerate(_narrow_parts(shown)):
        groups = ", ".join(dict.fromkeys(column.group for column in part if column.group))
        first = rf"\caption{{{latex_text(caption)}}}\label{{tab:{_slug(shown.study)}}}\\"
        again = rf"\caption[]{{{latex_text(f'{groups}, continued.' if groups else 'Continued.')}}}\\"
        head, layout = _heading(part), rf"@{{}}>{{\raggedright\arraybackslash}}X{_alignments(part)}@{{}}"
        lines += [rf"\begin{{xltabular}}{{\linewidth}}{{{layout}}}", again if place else first, *head, r"\endfirsthead"]
        lines += [again, *head, r"\endhead", r"\bottomrule", r"\endfoot", *_rows(part), r"\end{xltabular}"]
    return [*lines, *([r"\noindent", *_notes(shown)] if shown.notes else []), r"\endgroup"]


def _notes(shown: ShownTable) -> list[str]:
    return [r"\footnotesize\raggedright", *(_breakable(latex_text(note)) + r"\par" for note in shown.notes)]


def _meanings(shown: ShownTable) -> list[str]:
    """What bold numbers and stars mean, where there are any."""
    means = [column for column in shown.columns if column.name in (MEAN, SINGLE)]
    sentences = []
    if any(BEST in column.marks for column in means):
        kind = "value" if all(column.name == SINGLE for column in means) else "mean"
        sentences.append(f"Bold: the best {kind} {shown.best_of}.")
    if any(NEAR in column.marks for column in means):
        sentences.append("Italic: not shown to be worse than the best (5 %, corrected for the number of rows).")
    if any(_stars(shown, column.group) for column in means):
        sentences.append(f"*: differs from the baseline (p < {1 - LEVEL:.2f} after correction for the number of rows).")
    return sentences


def _stars(shown: ShownTable, group: str) -> set[int]:
    """Rows that differ from the baseline in a metric."""
    decided = {kind.name for kind in DECIDED}
    compared = (column for column in shown.group(group) if column.name == DIFFERENCE)
    return {row for column in compared for row, mark in enumerate(column.marks) if mark in decided}


def latex_text(text: str) -> str:
    """Text that LaTeX prints letter by letter, with Greek letters and minus signs as in formulas."""
    return SPECIAL.sub(lambda found: "$-$" if found["minus"] else _letter(found[0]), unicodedata.normalize("NFC", text))


def _letter(found: str) -> str:
    name = unicodedata.name(found[0], "")
    case, _, greek = name.removeprefix("GREEK ").partition(" LETTER ")
    if found in LATIN_LIKE:
        return LATIN_LIKE[found]
    if name.startswith("GREEK ") and case == "SMALL" and " " not in greek:
        return f"$\\{greek.lower().replace('lamda', 'lambda')}$"
    if name.startswith("GREEK ") and (capital := greek.capitalize().replace("Lamda", "Lambda")) in GREEK_CAPITALS:
        return f"$\\{capital}$"
    return SYMBOLS.get(found, found)


def _preamble(shown: ShownTable, caption: str, long: bool) -> list[str]:
    packages = ["xltabular" if long else "graphicx", *([] if long or not _wraps(shown.columns[0]) else ["array"])]
    needed = " and ".join(rf"\usepackage{{{name}}}" for name in ("booktabs", *packages))
    lines = [f"% Needs {needed}."]
    text = latex_text(" ".join([caption, *shown.notes, *(cell for column in shown.columns for cell in column.cells)]))
    foreign = sorted({letter for letter in text if ord(letter) > LATIN})
    if foreign:
        lines.append(f"% pdfLaTeX has no {' '.join(foreign)}: compile with XeLaTeX or LuaLaTeX and a font that does.")
    return lines


def _parts(shown: ShownTable) -> list[list[ShownColumn]]:
    """The table in one piece if that fits the page; otherwise one piece for each metric and one for the costs."""
    columns = _printed(shown)
    if sum(_width(column) + 1 for column in columns) <= PAGE:
        return [columns]
    leading = [column for column in columns if column.group == ""]
    pieces = [[column for column in columns if column.group == group] for group in shown.groups]
    return [[*(leading[:1] if piece[0].group == COST else leading), *piece] for piece in pieces]


def _narrow_parts(shown: ShownTable) -> list[list[ShownColumn]]:
    """Pieces that fit beside the labels without being made smaller; a metric begins in a piece of its own."""
    label, *leading = (column for column in _printed(shown) if column.group == "")
    parts, taken = [[label, *leading]], sum(_width(column) + BETWEEN for column in leading)
    for place, group in enumerate(shown.groups):
        for unit in _units([column for column in _printed(shown) if column.group == group]):
            width = sum(_width(column) + BETWEEN for column in unit)
            if taken + width > ROOM or (place and unit[0].name in (MEAN, SINGLE)):
                parts, taken = [*parts, [label]], 0
            parts[-1] += unit
            taken += width
    return parts


def _units(group: Sequence[ShownColumn]) -> list[list[ShownColumn]]:
    """The columns of a metric, of which the published ones stay together, and the difference and its verdict near the mean."""
    printed = (PUBLISHED, GAP, AGREES)
    compared = any(column.name == DIFFERENCE for column in group)
    units = [[column] for column in group if column.name not in printed]
    units.sort(key=lambda unit: compared and unit[0].name == INTERVAL)
    together = [column for column in group if column.name in printed]
    return [*units, *([together] if together else [])]


def _printed(shown: ShownTable) -> list[ShownColumn]:
    """The columns with short verdicts, and with stars among the marks of means."""
    return [_short(column, _stars(shown, column.group)) for column in shown.columns]


def _short(column: ShownColumn, stars: set[int]) -> ShownColumn:
    if column.name == VERDICT:
        return replace(column, cells=tuple(re.split(r" by | \(|:", cell)[0] for cell in column.cells))
    if column.name not in (MEAN, SINGLE):
        return column
    marks = column.marks or ("",) * len(column.cells)
    return replace(column, marks=tuple(f"{mark} {STAR}" if row in stars else mark for row, mark in enumerate(marks)))


def _width(column: ShownColumn) -> int:
    return max(map(len, [column.name, *column.cells]))


def _wraps(label: ShownColumn) -> bool:
    return _width(label) > LONG_LABEL


def _tabular(columns: Sequence[ShownColumn]) -> str:
    label = LONG_LABELS if _wraps(columns[0]) else "l"
    begin = rf"\begin{{tabular}}{{@{{}}{label}{_alignments(columns)}@{{}}}}"
    return "\n".join([begin, *_heading(columns), *_rows(columns), r"\bottomrule", r"\end{tabular}"])


def _alignments(columns: Sequence[ShownColumn]) -> str:
    """Of all columns but the first."""
    return "".join("l" if column.words else "r" for column in columns[1:])


def _heading(columns: Sequence[ShownColumn]) -> list[str]:
    """Titles of groups and columns between rules."""
    groups = [(group, len(list(members))) for group, members in groupby(columns, key=lambda column: column.group)]
    spans = [rf"\multicolumn{{{size}}}{{c}}{{{latex_text(group)}}}" for group, size in groups]
    names = [latex_text(column.name) for column in columns]
    return [r"\toprule", *([_row(spans), _rules(columns)] if any(group for group, _ in groups) else []), _row(names), r"\midrule"]


def _rules(columns: Sequence[ShownColumn]) -> str:
    """The lines below the titles of groups."""
    rules, first = [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        last = first + len(list(members)) - 1
        if group:
            rules.append(rf"\cmidrule({'lr' if last < len(columns) else 'l'}){{{first}-{last}}}")
        first = last + 1
    return " ".join(rules)


def _rows(columns: Sequence[ShownColumn]) -> list[str]:
    return [_row([_cell(column, row) for column in columns]) for row in range(len(columns[0].cells))]


def _row(cells: Sequence[str]) -> str:
    # A bracket or an asterisk after the end of a line would be taken for its option.
    return ("{}" if cells[0][:1] in ("[", "*") else "") + " & ".join(cells) + r" \\"


def _cell(column: ShownColumn, row: int) -> str:
    text = latex_text(column.cells[row])
    if column.name in (ROW, NETWORK) and _wraps(column):
        return LABEL_BREAKS.sub(r"\g<0>\\allowbreak{}", text)
    marks = column.marks[row].split() if column.marks else []
    # The star takes no room, so that the numbers stay aligned.
    text = rf"\textbf{{{text}}}" if BEST in marks else rf"\textit{{{text}}}" if NEAR in marks else text
    return text + r"\rlap{$^{*}$}" * (STAR in marks)


def _breakable(text: str) -> str:
    """Paths may go on in the next line after a slash."""
    return text.replace("/", r"/\allowbreak{}")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
