"""Reader of a user's CSV of files and labels, whatever its columns are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from objectives.wording import first_line, listed, meant


def read_table(
    path: Path,
    columns: Mapping[str, str | None],
    required: Sequence[str],
    aliases: Mapping[str, Sequence[str]] | None = None,
) -> Any:
    """Return the rows of a CSV as text.

    Cells are stripped, and columns that nobody asked for are left out.

    Args:
        path: The CSV.
        columns: What each column is called in the file. None: by its own name or one of `aliases`, and it may be
            missing unless it is in `required`. A column that is given a name has to be there.
        required: Columns that have to be there.
        aliases: Other names of columns.

    Returns:
        A frame with columns named as in `columns` ("file", "label", ...), its index the line of the file (2: the first
        row).

    Raises:
        ValueError: The file is not there, empty or not a CSV; a column is missing; a cell is empty in a column that is
            required or asked for by name; or a `file` stands there twice.
    """
    if not path.is_file():
        beside = [one.name for one in path.parent.glob("*.csv")] if path.parent.is_dir() else []
        held = f"; {path.parent} holds {', '.join(sorted(beside))}" if beside else ""
        raise ValueError(f"{path} does not exist; expected a CSV with the columns {', '.join(required)}{held}")
    try:
        read = pandas.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False)
    except (ValueError, UnicodeError) as error:  # pandas's own errors are ValueErrors
        expected = "expected UTF-8, a header and rows of cells"
        raise ValueError(f"{path} cannot be read as a CSV ({first_line(error)}); {expected}") from error
    read.index = range(2, len(read) + 2)
    read.columns = [str(name).strip() for name in read.columns]
    names = _names(path, columns, list(read.columns), required, aliases or {})
    table = pandas.DataFrame({column: read[name].str.strip() for column, name in names.items()}, index=read.index)
    table = table[(table != "").any(axis=1)]  # a blank line is nothing, an empty cell in a row is a mistake
    if table.empty:
        raise ValueError(f"{path} has a header and no rows; expected a row for each file")
    for column, name in names.items():
        empty = table.index[table[column] == ""]
        if len(empty) and (column in required or columns[column] is not None or column == "split"):
            more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
            raise ValueError(f"{path}, line {empty[0]}{more}: the cell of column {name} is empty; expected a value")
    if "file" in table:
        twice = table.index[table["file"].duplicated()]
        if len(twice):
            first = table.index[table["file"] == table["file"][twice[0]]][0]
            raise ValueError(
                f"{path}, line {twice[0]}: {table['file'][twice[0]]} stands there already in line {first}; expected "
                "each file once"
            )
    return table


def _names(
    path: Path,
    columns: Mapping[str, str | None],
    there: Sequence[str],
    required: Sequence[str],
    aliases: Mapping[str, Sequence[str]],
) -> dict[str, str]:
    """Return the name in the file of each column that it has.

    Raises:
        ValueError: Columns are missing; all of them are named.
    """
    names: dict[str, str] = {}
    lacking: dict[str, str] = {}
    for column, given in columns.items():
        possible = (given,) if given is not None else (column, *aliases.get(column, ()))
        found = next((name for name in possible if name in there), None)
        if found is not None:
            names[column] = found
        elif given is not None:
            lacking[column] = f"{given}, which data.columns names for {column}"
        elif column in required:
            lacking[column] = " or ".join(possible)
    if lacking:
        raise ValueError(missing_columns(path, lacking, columns, there))
    return names


def missing_columns(
    path: Path,
    lacking: Mapping[str, str],
    columns: Mapping[str, str | None],
    there: Sequence[str],
    what: str = "column",
) -> str:
    """Return the sentence on all columns that a file lacks.

    Args:
        path: The file.
        lacking: What to call each of them, by column.
        columns: What each column is called in the file, as far as data.columns says it.
        there: The names that the file has.
        what: What they are: "column" or "array".
    """
    unnamed = [f"data.columns.{column}" for column in lacking if columns.get(column) is None]
    expected = f" Expected {' and '.join(unnamed)} to name what is meant." if unnamed else ""
    hints = "".join(dict.fromkeys(meant(columns.get(column) or column, there) for column in lacking))
    return f"{path} has no {what} {' and no '.join(lacking.values())}; it has {listed(there)}.{expected}{hints}"
