"""File of the JSON Schema of study.yaml that comes with hpo, and the line by which editors find it.

`hpo.spec.json_schema` makes it; reading it takes no library.
"""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).with_name("study.schema.json")


def editor_line() -> str:
    """Return the first line of a study.yaml, by which editors find the installed schema.

    It is a URI, so that a path may hold spaces.
    """
    return f"# yaml-language-server: $schema={FILE.as_uri()}"
