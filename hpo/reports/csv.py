"""CSV files (RFC 4180) of the numbers of a figure."""

from __future__ import annotations

import csv
import io
import math
import re
from typing import Any

from hpo.reports.blocks import Rows


def to_csv(rows: Rows) -> str:
    """Return the rows as the text of a CSV file, with a line of column names."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([_field(column) for column in rows.columns])
    writer.writerows([_field(value) for value in row] for row in rows.rows)
    return text.getvalue()


def file_name(*parts: str) -> str:
    """Return a file name, without suffix, made of letters and digits of any script and of hyphens."""
    return re.sub(r"[\W_]+", "-", " ".join(parts)).strip("-").lower()[:80].strip("-") or "figure"


def _field(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    # A spreadsheet takes text that begins so for a formula.
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True
