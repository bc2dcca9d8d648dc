"""A new study of a kind of task, from the templates beside this module."""

from __future__ import annotations

from pathlib import Path

from hpo.scaffold.draft import study_name
from hpo.spec.schema_file import editor_line
from hpo.spec.yaml_document import dump_inline

TEMPLATES = Path(__file__).parent / "templates"
TASKS = ("segmentation", "classification", "ranking", "multitask", "command")
_NAME = "name: NAME"


def new_study(task: str, folder: Path) -> dict[Path, str | bytes]:
    """Return the files of a new study, by their paths in `folder`.

    Args:
        task: one of TASKS.
        folder: where they go; the study gets its name.
    """
    text = (TEMPLATES / f"{task}.yaml").read_text(encoding="utf-8")
    name = dump_inline(study_name(folder.absolute().name))
    study = f"{editor_line()}\n{text.replace(_NAME, f'name: {name}', 1)}"
    files: dict[Path, str | bytes] = {folder / "study.yaml": study}
    if task == "command":
        files[folder / "train.py"] = (TEMPLATES / "train.py").read_text(encoding="utf-8")
    return files
