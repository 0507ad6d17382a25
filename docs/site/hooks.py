"""MkDocs' hooks: pages that lie above docs/ become part of the site, and links to them are followed there."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ABOVE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""File at the top of the repository -> its page."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from above docs/."""
    top = Path(config.config_file_path).parent
    for name, page in ABOVE.items():
        text = (top / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=re.sub(r"\]\(docs/", "](", text)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to these files lead to their pages, and name files that are no pages without a link."""
    for name, page in ABOVE.items():
        markdown = re.sub(rf"\]\((\.\./)?{re.escape(name)}", f"]({page}", markdown)
    return re.sub(r"\[([^\]]+)\]\((\.\./)?(CITATION\.cff|LICENSE|conf/[^)]*|tests/[^)]*|benchmarks/[^)]*)\)", r"`\1`", markdown)
