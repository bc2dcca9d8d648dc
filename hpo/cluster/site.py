"""The site file: options that every job of a user has unless the command says otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from hpo.cluster.job_request import JobOptions, JobRequest
from hpo.errors import SpecError
from hpo.spec.yaml_document import read_yaml
from hpo.text import listing
from hpo.validation import problems_in


def site_file() -> Path:
    """Return $HPO_SITE, else hpo/site.yaml in the user's settings ($XDG_CONFIG_HOME, else ~/.config)."""
    given = os.environ.get("HPO_SITE")
    if given:
        return Path(given)
    settings = os.environ.get("XDG_CONFIG_HOME")
    return (Path(settings) if settings else Path.home() / ".config") / "hpo" / "site.yaml"


def site_request() -> JobRequest:
    """Return the request that the site file describes; the default where there is no file and $HPO_SITE names none.

    Raises:
        SpecError: The file cannot be read or has mistakes; with all of them.
    """
    path = site_file()
    if not path.exists() and "HPO_SITE" not in os.environ:
        return JobRequest()
    document = read_yaml(path)
    problems = document.problems
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        keys = listing(JobOptions.model_fields, 20)
        raise SpecError([document.problem((), f"expected keys, such as partition: gpu; there are {keys}")])
    options = JobOptions()
    try:
        options = JobOptions.model_validate(data)
    except ValidationError as error:
        problems += [document.problem(keys, message) for keys, message in problems_in(error, JobOptions)]
    if problems:
        raise SpecError(sorted(problems, key=lambda problem: problem.line or 0))
    return JobRequest().updated(options)
