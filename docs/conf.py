"""Settings of the site that `make docs` builds.

The pages' root is the project's folder, so that links between them are the same in the site as in the repository. What
is added to docs/guides, docs/tasks or docs/concepts is in the navigation at once (`glob` in docs/index.md).
"""

from __future__ import annotations

from typing import Any

import hpo

project = "hpo"
author = "the authors of hpo"
release = version = hpo.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "sphinx_copybutton"]

source_suffix = {".md": "markdown"}
root_doc = "docs/index"
include_patterns = ["docs/**.md", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/*.md"]
smartquotes = False  # "--set" keeps its two dashes
exclude_patterns = [".*", "runs", "site", "dist", "tests", "hpo", "objectives"]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
nitpicky = False  # names of Optuna's and pandas' types lead to no page of this site

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_default_options = {"exclude-members": "__init__"}  # objects that hpo makes
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"hpo {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_extra_path = ["root/index.html"]
html_show_sphinx = False
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True


def keep_lines(app: Any, context: Any, lines: list[str]) -> None:
    """Show what stands at the end of a command's help, its examples, as it is written."""
    text = [line.removeprefix("| ").replace("\b", "") for line in lines]
    lines[:] = ["::", "", *(f"    {line}" for line in text), ""] if any(line.strip() for line in text) else []


def setup(app: Any) -> None:
    """Tell Sphinx what is called when."""
    app.connect("sphinx-click-process-epilog", keep_lines)
