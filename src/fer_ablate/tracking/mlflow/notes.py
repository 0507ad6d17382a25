"""Descriptions of runs and experiments in MLflow, in which every study has a part of its own beside what people wrote."""

import re

NOTE = "mlflow.note.content"
"""Tag of a run or an experiment that the pages of MLflow show as its description, in Markdown."""

NOTE_LENGTH = 5000
"""Characters of a description that the databases of MLflow 3.17 hold for an experiment."""

_PART = re.compile(r"\n*<!-- study: (.*?) -->\n.*?<!-- end of study -->\n*", re.S)


def with_part(note: str, study: str, text: str) -> str:
    """A description in which a study has this part; its earlier one is replaced.

    What people wrote stays, above. The newest part comes first, and older parts are left out as soon as they do not fit.

    Args:
        note: description as it is.
        study: name of the study.
        text: Markdown, shorter than `NOTE_LENGTH`.
    """
    others = [found.group(0).strip("\n") for found in _PART.finditer(note) if found.group(1) != _name(study)]
    written = _PART.sub("\n\n", note).strip("\n")
    own = f"<!-- study: {_name(study)} -->\n{text.strip()}\n<!-- end of study -->"
    # Where even this part does not fit beside what people wrote, theirs stays alone.
    parts = [written] if written else []
    for part in (own, *others):
        if len("\n\n".join([*parts, part])) > NOTE_LENGTH:
            break
        parts.append(part)
    return "\n\n".join(parts)


def _name(study: str) -> str:
    """A name that neither ends a comment nor breaks the line."""
    return " ".join(study.replace("--", "- -").split())
