"""The messages of the source, as `make messages` finds them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from babel.messages.extract import extract_from_dir

import hpo
from hpo.translation.catalogue import LANGUAGES

SOURCE = Path(hpo.__file__).parent
KEYWORDS: dict[str, Any] = {"tr": None, "trn": (1, 2), "mark": None}
OTHERS = [code for code in LANGUAGES if code != "en"]
FIELD = re.compile(r"\{(\w+)\}")


@cache
def places() -> dict[tuple[str, ...], str]:
    """Every message, as its singular and plural or alone, with the file and line where it is first said."""
    found: dict[tuple[str, ...], str] = {}
    for name, line, message, _, _ in extract_from_dir(SOURCE, keywords=KEYWORDS):
        forms = (message,) if isinstance(message, str) else tuple(message)
        found.setdefault(forms, f"hpo/{name}:{line}")
    return found
