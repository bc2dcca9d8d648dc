"""Reader of a user's CSV of files and labels, whatever its columns are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from objectives.wording import first_line, meant


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
    names = {
        column: found
        for column in columns
        if (found := _called(path, column, columns[column], list(read.columns), column in required, aliases or {}))
    }
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


def _called(
    path: Path,
    column: str,
    given: str | None,
    there: Sequence[str],
    required: bool,
    aliases: Mapping[str, Sequence[str]],
) -> str | None:
    """Return the name of a column among those that are there."""
    if given is not None:
        if given in there:
            return given
        raise ValueError(
            f"{path} has no column {given}, which data.columns names for {column}; it has {', '.join(there)}."
            f"{meant(given, there)}"
        )
    for name in (column, *aliases.get(column, ())):
        if name in there:
            return name
    if required:
        raise ValueError(
            f"{path} has no column {' or '.join((column, *aliases.get(column, ())))}; it has {', '.join(there)}. "
            f"Expected data.columns.{column} to name the one that is meant"
        )
    return None
