"""Provenance of runs: versions, code and machine, as MLflow tags. Nothing is imported for it."""

from __future__ import annotations

import contextlib
import getpass
import importlib.metadata
import platform
import socket
from pathlib import Path

from hpo import __version__
from hpo.machine.provenance import git_output
from hpo.machine.resources import cores, nvidia_smi

_PACKAGES = ("torch", "optuna")


def provenance(root: Path, source: Path) -> dict[str, str]:
    """Return tags for a study.

    What cannot be found out, such as the commit of a folder that is no git repository, is left out.

    Args:
        root: The folder of the study's code.
        source: Its YAML.
    """
    tags = {
        "mlflow.source.name": str(source),
        "mlflow.source.type": "LOCAL",
        "hpo.version": __version__,
        "hpo.python": platform.python_version(),
        "hpo.host": socket.gethostname(),
        "hpo.cpus": str(cores()),
    }
    for package in _PACKAGES:
        try:
            tags[f"hpo.{package}"] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    with contextlib.suppress(KeyError, OSError):  # a container's user may have no name
        tags["mlflow.user"] = getpass.getuser()
    if gpus := nvidia_smi("name"):
        tags["hpo.gpus"] = ", ".join(gpus)
    if commit := git_output(root, "rev-parse", "HEAD").strip():
        tags["mlflow.source.git.commit"] = commit
        changed = git_output(root, "status", "--porcelain", "--untracked-files=no").strip()
        tags["hpo.git_dirty"] = str(bool(changed)).lower()
    return tags
