"""The pages of docs/ as a static site: `python docs/site/build.py`.

Pages are Markdown as it is read on a forge. What Sphinx needs beside, the tree of pages for the side bar, is made here
from the folders, so that a page that is added is in it.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]

project = "boxcheck"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["site", "pictures"]
root_doc = "index"
html_theme = "furo"
html_title = "boxcheck"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["site.css"]
highlight_language = "none"  # a block without a word is output
myst_heading_anchors = 4  # the anchors of a forge
nitpicky = True
SECTIONS = ("tutorials", "how-to", "reference", "explanation")


def _toctree(caption: str, pages: list[str]) -> str:
    listed = "\n".join(pages)
    return f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n:maxdepth: 1\n\n{listed}\n```\n"


def _pages(folder: str, below: str = "*.md") -> list[str]:
    return sorted(str(path.relative_to(DOCS).with_suffix("")) for path in (DOCS / folder).glob(below))


def _with_tree(app: Sphinx, name: str, text: list[str]) -> None:
    """The side bar on the front page, the areas below the index of checks; links to other places as text."""
    if name == "index":
        for section in SECTIONS:
            pages = _pages(section) + (["reference/checks/README"] if section == "reference" else [])
            text[0] += _toctree(section.replace("-", " ").capitalize(), pages)
        text[0] += _toctree("More", ["contributing", "changelog"])
    elif name == "reference/checks/README":
        text[0] += _toctree("Areas", [
            Path(page).name for page in _pages("reference/checks") if not page.endswith("README")])
    text[0] = re.sub(r"\[([^\]]+)\]\((?:\.\./)+(?:README\.md|LICENSE|[\w/-]*/)(?:#[^)]*)?\)", r"\1", text[0])


def setup(app: Sphinx) -> None:
    app.connect("source-read", _with_tree)
