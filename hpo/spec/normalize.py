"""Short forms of study.yaml as the models of a study hold them: mappings, absolute paths, lists of arguments."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hpo import layout
from hpo.errors import KeyPath, Problem, SpecError
from hpo.machine.sqlite_uri import resolved, sqlite_path
from hpo.red_flags.definitions import read_flags
from hpo.spec import algorithms
from hpo.text import listing, nearest, quote, redact, show

# Is called with a path of keys, and a sentence that says what is wrong with the value there.
Wrong = Callable[[KeyPath, str], None]
_SCHEMES = ("journal", "sqlite", "postgresql", "mysql", "mariadb", "oracle", "mssql")


def rewrite(values: dict[str, Any], source: Path, locate: bool, wrong: Wrong) -> None:
    """Change the values of a study's keys, in place, from what YAML may say to what the models hold.

    Args:
        values: by key.
        source: the YAML; paths count from its folder.
        locate: the root must be on this machine.
        wrong: is called with the path and a sentence for each mistake.
    """
    values["source"] = layout.absolute(source)
    folder = values["source"].parent
    root = values.get("root", "")
    if isinstance(root, str):
        values["root"] = layout.absolute(folder / root)
        if locate and not os.path.isdir(values["root"]):
            wrong(("root",), f"there is no folder {values['root']}")
    for role in ("sampler", "pruner"):
        if isinstance(values.get(role), (str, dict)):
            halves = algorithms.split_options(values[role])
            values[role] = {key: value for key, value in halves.items() if value is not None}
    if isinstance(values.get("engine"), str):
        values["engine"] = {"name": values["engine"]}
    if isinstance(values.get("engine"), dict):
        values["engine"] = _engine(values["engine"], folder, wrong)
    sampler = values.get("sampler")
    if "budget" not in values and isinstance(sampler, dict) and sampler.get("name") == "grid":
        values["budget"] = {}  # the grid itself is the budget
    if isinstance(sampler, dict) and sampler.get("name") == "pbt":
        values.setdefault("pruner", {"name": "none"})  # members that fall behind are replaced
    if "command" in values:
        values["command"] = _command(values["command"], wrong)
    if isinstance(values.get("storage"), str):
        values["storage"] = _storage(values["storage"], folder, wrong)
    if "mlflow" in values:
        values["mlflow"] = _mlflow(values["mlflow"], folder, wrong)
    if "warm_start" in values:
        values["warm_start"] = _warm_start(values["warm_start"], folder, wrong)
    if "red_flags" in values:
        values["red_flags"], problems = read_flags(values["red_flags"])
        for where, message in problems:
            wrong(("red_flags", *where), message)
    if isinstance(values.get("confirm"), bool):
        values["confirm"] = {} if values["confirm"] else None
    if "checkpoints" in values:
        values["checkpoints"] = _checkpoints(values["checkpoints"], wrong)


def _command(written: Any, wrong: Wrong) -> Any:
    if isinstance(written, str):
        wrong(("command",), f"{quote(written)} is text; expected a list: {show(_argument_list(written))}")
    elif not isinstance(written, list) or not written:
        example = "[python, train.py, --lr, '{lr}']"
        wrong(("command",), f"{quote(written)} is no command; expected a list, such as {example}")
    else:
        parts: list[Any] = []
        for index, part in enumerate(written):
            path: KeyPath = ("command", index)
            if isinstance(part, list):
                parts.append(tuple(_argument(e, (*path, i), wrong) for i, e in enumerate(part)))
            else:
                parts.append(_argument(part, path, wrong))
        return tuple(parts)
    return None


def _argument(value: Any, path: KeyPath, wrong: Wrong) -> str:
    if isinstance(value, dict) and len(value) == 1 and next(iter(value.values())) is None:
        # `--lr, {lr}` without quotes: YAML reads the braces as a mapping.
        name = next(iter(value))
        wrong(path, f"a placeholder needs quotes in YAML; write '{{{name}}}' with quotes around it")
    elif value is None or isinstance(value, (list, dict)):
        wrong(path, f"{quote(value)} is not an argument; expected text or a number, or one list of them")
    else:
        return value if isinstance(value, str) else json.dumps(value)
    return ""


def storage_given(url: str, option: str) -> str:
    """Return the URL of a storage that an option names, with a path made absolute by the current folder.

    Raises:
        SpecError: it is none.
    """
    problems: list[Problem] = []
    found = _storage(url, Path.cwd(), lambda _, message: problems.append(Problem(option, None, "", message)))
    if problems:
        raise SpecError(problems)
    return found


def _storage(url: str, folder: Path, wrong: Wrong) -> str:
    """Return the URL of a storage with its path made absolute."""
    scheme, colon, rest = url.partition(":")
    dialect = scheme.partition("+")[0]
    if colon and re.fullmatch(r"[A-Za-z][\w+.-]*", scheme):
        if dialect not in _SCHEMES:
            hint = nearest(dialect, _SCHEMES)
            expected = f"journal:FILE, sqlite:///FILE or a database: {listing(_SCHEMES[2:])}"
            shown = redact(url)
            wrong(("storage",), f"'{shown}' has the unknown scheme '{scheme}'; expected {expected}.{hint}")
        elif dialect == "sqlite" and not re.match(r"///(?!:memory:)[^?]", rest):  # a study outlives its process
            wrong(("storage",), f"'{url}' is not the URL of a file; expected sqlite:///FILE")
        elif dialect == "sqlite":
            return resolved(url, folder)
        elif dialect not in ("journal",) and not re.match(r"//[^/]", rest):
            shown = redact(url)
            wrong(("storage",), f"'{shown}' names no host; expected {scheme}://user@host/database")
        elif dialect != "journal":
            return url
    path = re.sub(r"^//(?=/)", "", rest if dialect == "journal" and colon else url)
    return f"journal:{layout.absolute(folder / path)}"


def _engine(written: Mapping[Any, Any], folder: Path, wrong: Wrong) -> dict[Any, Any]:
    """Return the mapping of an engine with the long form of `retries` and absolute paths."""
    values = dict(written)
    retries = values.get("retries", {})
    if isinstance(retries, int) and not isinstance(retries, bool):
        values["retries"] = {"lost": retries}
    elif not isinstance(retries, dict):
        expected = "a number from 0, or several: {lost: 1, exception: 0, timeout: 0}"
        wrong(("engine", "retries"), f"{quote(retries)} is not right; expected {expected}")
    if isinstance(shared := values.get("checkpoint_dir"), str):
        values["checkpoint_dir"] = layout.absolute(folder / shared)
    environment: Any = values.get("runtime_env")
    code = environment.get("working_dir") if isinstance(environment, dict) else None
    if isinstance(code, str) and "://" not in code:
        values["runtime_env"] = {**environment, "working_dir": str(layout.absolute(folder / code))}
    return values


def _mlflow(written: Any, folder: Path, wrong: Wrong) -> Any:
    """Return `false`, `true`, a URI or a mapping as the mapping or None; a SQLite path is made absolute."""
    if isinstance(written, bool):
        return {} if written else None
    path: KeyPath = ("mlflow",)
    if isinstance(written, str):
        written = {"tracking_uri": written}
    elif isinstance(written, dict):
        path = ("mlflow", "tracking_uri")
        if "trials" in written:
            written = written | {"trials": _best(written["trials"], wrong)}
    uri = written.get("tracking_uri") if isinstance(written, dict) else None
    if not isinstance(uri, str):
        return written
    if sqlite_path(uri) is not None:
        return written | {"tracking_uri": resolved(uri, folder)}
    if not re.match(r"(https?|databricks|postgresql|mysql|mssql)([+:]|$)", uri):
        # A folder of files is refused by MLflow itself since 3.13.
        wrong(path, f"{quote(redact(uri))} is no tracking URI; expected http://HOST:PORT, sqlite:///FILE or false")
    return written


def _best(written: Any, wrong: Wrong) -> int | None:
    """Return `best N` as the number and `all` as None."""
    if written in ("all", None):
        return None
    words = written if isinstance(written, str) else show(written)
    if isinstance(written, str) and (found := re.fullmatch(r"best ([0-9]{1,18})", written)) and int(found[1]):
        return int(found[1])
    given = re.search(r"(?<![0-9])[1-9][0-9]{0,17}(?![0-9])", words)
    hint = nearest(words, ["all", f"best {given[0]}" if given else "best 1000"], 0.2 if given else 0.6)
    wrong(("mlflow", "trials"), f"{quote(written)} is not right; expected all, or best and a number from 1.{hint}")
    return None


def _checkpoints(written: Any, wrong: Wrong) -> Any:
    """Return a number, `all` or a mapping as the mapping."""
    short = isinstance(written, (int, str)) and not isinstance(written, bool)
    if not short and not isinstance(written, dict):
        wrong(("checkpoints",), f"{quote(written)} is not right; expected {{keep_best: 3, max_gb: 20}}, or a number")
        return {}
    values = {"keep_best": written} if short else dict(written)
    kept = values.get("keep_best")
    if isinstance(kept, str):
        values["keep_best"] = None
        if kept != "all":
            path: KeyPath = ("checkpoints",) if short else ("checkpoints", "keep_best")
            wrong(path, f"{quote(kept)} is not right; expected a number from 1, or all")
    elif kept is None:
        values.pop("keep_best", None)  # as if left out, for None means all
    return values


def _warm_start(written: Any, folder: Path, wrong: Wrong) -> Any:
    """Return `auto`, `true`, a study, a list of them or a mapping as the mapping, and `false`, `off`, `none` as None.

    Paths are made absolute.
    """
    if written is False or written in ("off", "none"):
        return None
    values = {"from": "auto"} | (written if isinstance(written, dict) else {"from": written})
    path: KeyPath = ("warm_start", "from") if isinstance(written, dict) else ("warm_start",)
    sources = "auto" if values["from"] is True else values["from"]
    sources = [sources] if isinstance(sources, str) and sources != "auto" else sources
    if sources == "auto":
        return values | {"from": "auto"}
    if not isinstance(sources, list) or not sources or not all(isinstance(one, str) and one for one in sources):
        expected = "expected auto, the name or folder of a study, a knowledge file, a list of them, or false"
        wrong(path, f"{quote(sources)} does not name earlier studies; {expected}")
        return None
    return values | {"from": [str(folder / one) if "/" in one or one.endswith(".json") else one for one in sources]}


def _argument_list(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
