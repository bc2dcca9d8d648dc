"""The site file: what every job of a user asks for, unless the command says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from hpo.cluster.job_request import READERS, JobRequest, read
from hpo.errors import SpecError
from hpo.spec.yaml_document import read_yaml
from hpo.text import listing, nearest


def site_file() -> Path:
    """$HPO_SITE, else hpo/site.yaml among the user's settings ($XDG_CONFIG_HOME, else ~/.config)."""
    given = os.environ.get("HPO_SITE")
    if given:
        return Path(given)
    settings = os.environ.get("XDG_CONFIG_HOME")
    return (Path(settings) if settings else Path.home() / ".config") / "hpo" / "site.yaml"


def site_wishes() -> JobRequest:
    """What the site file says; nothing where there is none, unless $HPO_SITE names it.
    Raises SpecError with all that is wrong in it."""
    path = site_file()
    if not path.exists() and "HPO_SITE" not in os.environ:
        return JobRequest()
    document = read_yaml(path)
    problems = document.problems
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise SpecError([document.problem((), f"expected keys, such as partition: gpu; there are {listing(READERS)}")])
    given = {}
    for key, value in data.items():
        if key not in READERS:
            expected = f"expected {listing(READERS)}.{nearest(key, READERS)}"
            problems.append(document.problem((key,), f"is not a key of a site file; {expected}"))
        elif value is not None:
            try:
                given[key] = read(key, value)
            except ValueError as error:
                problems.append(document.problem((key,), str(error)))
    if problems:
        raise SpecError(problems)
    return JobRequest().with_(given)
