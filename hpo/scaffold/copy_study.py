"""A copy of a study that comes with hpo: its YAML, the families that it includes, and its objective's package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from hpo.errors import ScaffoldError
from hpo.objective.locate import BUILT_IN, PACKAGE_FOLDER
from hpo.scaffold.draft import study_name
from hpo.spec.includes import built_in_studies, packaged
from hpo.spec.schema_file import editor_line
from hpo.spec.yaml_document import dump_inline, read_yaml
from hpo.text import listing, nearest

_NAME = re.compile(r"^name:.*$", re.MULTILINE)


def default_folder(study: str) -> str:
    """Return the folder of a copy: not the study's own name, by which commands find the built-in one."""
    return f"my_{_stem(study)}"


def copy_study(study: str, folder: Path) -> dict[Path, str | bytes]:
    """Return the files of a copy of a built-in study, by their paths in `folder`.

    Raises:
        ScaffoldError: there is no such study.
    """
    known = {Path(name).stem: file for name, file in built_in_studies().items()}
    source = known.get(_stem(study))
    if source is None:
        script = f" A file is given without --from: hpo init {study}." if Path(study).is_file() else ""
        raise ScaffoldError(
            f"'{study}' is not a study that comes with hpo.{script or nearest(_stem(study), known)} There are "
            f"{listing(known)}"
        )
    document = read_yaml(source)
    text = _NAME.sub(f"name: {dump_inline(study_name(folder.name))}", source.read_text(encoding="utf-8"), count=1)
    files: dict[Path, str | bytes] = {folder / "study.yaml": f"{editor_line()}\n{text}"}
    space = document.data.get("search_space") or {}
    for name in _families(space.get("include") or []):
        files[folder / name] = _family(name).read_bytes()
    package = document.data["objective"].partition(":")[0]
    if package.partition(".")[0] == BUILT_IN:
        place = Path(PACKAGE_FOLDER, *package.split("."))
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
            files[folder / file.relative_to(PACKAGE_FOLDER)] = file.read_bytes()
    return files


def _stem(study: str) -> str:
    return Path(study).name.removesuffix(".yaml").removesuffix(".yml")


def _families(names: list[str] | str) -> Iterator[str]:
    """Yield the families that are included, and those that they include."""
    for name in [names] if isinstance(names, str) else names:
        yield name
        data = read_yaml(_family(name)).data
        yield from _families(data.get("include") or [] if isinstance(data, dict) else [])


def _family(name: str) -> Path:
    return next(path for path in packaged("search_spaces", name) if path.is_file())
