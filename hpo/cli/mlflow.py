"""`hpo mlflow`: show the runs of a study in MLflow, and make them equal to the study."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo import layout
from hpo.cli.common import cannot_listen, find_study, listen_options, runs_option, study_argument
from hpo.cli.output import echo, say
from hpo.errors import HpoError
from hpo.machine.access import may_write
from hpo.machine.page_access import LOCAL, address, bracketed, names_of
from hpo.machine.sqlite_uri import sqlite_path, sqlite_uri
from hpo.machine.temporary import scratch_folder
from hpo.storage.readonly import copy_sqlite
from hpo.text import redact

if TYPE_CHECKING:
    from hpo.spec.models import StudySpec
    from hpo.trackers.mlflow.place import Place

_LONGEST_FOLDER = 200


@click.command(
    epilog="""\b
Examples:
  hpo mlflow                        the study last driven
  hpo mlflow quickstart --port 5001
  hpo mlflow quickstart --sync      only write: a study that ran with `mlflow: false`
                                    or while the server was down, or runs that were changed
  ssh -L 5000:127.0.0.1:5000 gpu-machine
                                    on your own machine, to look at a study over there

\b
Exit code of --sync: 0 the runs equal the study; 1 something could not be written.
"""
)
@study_argument
@listen_options(5000)
@click.option("--sync", is_flag=True, help="Make the runs in MLflow equal to the study, and show no page.")
@runs_option
def mlflow(study: str | None, host: str, port: int, sync: bool, runs: Path) -> None:
    """Show the runs of a study in MLflow.

    Starts `mlflow server` on the store that holds the runs, also while they are written. If the store is an MLflow
    server, it prints the address of the runs there. STUDY is a name in the runs folder or a YAML; by default the study
    last driven. Ctrl-C ends it.

    --sync closes runs that were left open, writes missing runs, metrics, tags and files, corrects what differs, and
    takes out doubled runs. Your own tags, notes, metrics and runs stay. It is refused while `hpo run` writes the study
    to MLflow.
    """
    from hpo.storage.load_study import load_study
    from hpo.trackers.mlflow import place

    name = find_study(runs, study)
    if sync:
        _sync(runs, name)
        return
    spec, _ = load_study(runs, name)
    known = place.read_place(layout.study_directory(runs, name))
    command = place.sync_command(runs, name)
    if known is None:
        raise HpoError(f"study '{name}' was not tracked in MLflow; `{command}` writes all of it there")
    uri = place.written_uri(spec, runs, known)
    if uri.startswith("databricks"):
        echo(f"the runs are at Databricks ({uri}), in the experiment {known.experiment}")
    elif place.is_server(uri):
        echo(f"{_without_login(uri)}{_page(uri, known, spec, command)}")
    else:
        port = _free_port(host, port)
        page = _page(uri, known, spec, command)
        _serve(uri, runs, page, host, port)


def _serve(uri: str, runs: Path, page: str, host: str, port: int) -> None:
    """Serve the store; this process becomes the server, unless it has to remove a copy of the store at the end."""
    from hpo.trackers.mlflow import place

    file = sqlite_path(uri)
    copied = file is not None and not (may_write(file) and may_write(file.parent))
    echo(f"{address(host, port)}{page}\n")
    echo(f"The same as: mlflow ui --backend-store-uri {shlex.quote(redact(uri))}")
    if copied:
        echo("You may not write this store, as MLflow has to: what is shown is a copy of it as it is now.")
    if host not in LOCAL:
        echo(f"Anyone who can reach {host} can read, change and delete these runs.")
    echo("MLflow takes some seconds to start. Ctrl-C ends it.")
    sys.stdout.flush()
    # -P: nothing in the current folder may stand in for a module.
    server = [sys.executable, "-P", "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    server += ["--workers", "1", "--artifacts-destination", place.artifact_folder(uri, runs).as_uri()]
    if file is None or not copied:
        os.execve(server[0], server, _environment(uri, host, port))
    with scratch_folder(_LONGEST_FOLDER) as folder:
        copy_sqlite(file, folder / file.name)
        process = subprocess.Popen(server, env=_environment(sqlite_uri(folder / file.name), host, port))
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        while process.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):  # it got Ctrl-C too
                process.wait()


def _sync(runs: Path, name: str) -> None:
    from hpo.trackers.mlflow import place
    from hpo.trackers.mlflow.sync import sync

    changed = sync(runs, name, say)
    known = place.read_place(layout.study_directory(runs, name))
    where = known.tracking_uri if known else "?"
    say(f"MLflow at {where} {'now equals' if changed else 'equals'} study '{name}'")


def _free_port(host: str, port: int) -> int:
    """Return the port to listen on, a free one for 0. Raises HpoError when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            free: int = probe.getsockname()[1]
            return free
    except (OSError, OverflowError) as error:
        raise cannot_listen("MLflow", host, port, error) from error


def _environment(uri: str, host: str, port: int) -> dict[str, str]:
    """Return the environment of `mlflow server`.

    The URL of the store goes this way and not as an argument, as it may hold a password. By itself MLflow also answers
    to every name that begins like a private address, such as 10.example.org, which may be anybody's; and asked to
    listen elsewhere, it must answer to this machine's names too.
    """
    names = {bracketed(name) for name in names_of(host)}
    allowed = [f"{name.replace('[', '[[]')}:*" for name in names] + ([*names] if port == 80 else [])
    given = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # more processes, for features of language models
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(sorted(allowed)),
    }
    if host not in LOCAL:
        given["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(sorted(f"http://{name}:{port}" for name in names))
    return {**given, **os.environ, "MLFLOW_BACKEND_STORE_URI": uri}


def _page(uri: str, known: Place, spec: StudySpec, sync: str) -> str:
    """Return the path of the page that shows the study's trials side by side, the best first.

    In MLflow's own order they would hide behind their parent. Raises HpoError when the store cannot be read or has no
    such experiment, which the command `sync` makes.
    """
    from hpo.trackers.mlflow.client import experiment_id
    from hpo.trackers.mlflow.records import name_of

    number = experiment_id(uri, known.experiment)
    if number is None:
        raise HpoError(f"MLflow at {redact(uri)} has no experiment '{known.experiment}'; `{sync}` writes it")
    metric = spec.metrics[0]
    view = {
        "workflowType": "machine_learning",  # else MLflow may show its pages for language models
        "searchFilter": f"tags.`hpo.key` = '{known.key}' and tags.`hpo.kind` = 'trial'",
        "orderByKey": f"metrics.`{name_of(f'final/{metric.name}')}`",
        "orderByAsc": "true" if metric.direction == "minimize" else "false",
        "compareRunsMode": "CHART",
    }
    return f"/#/experiments/{number}/runs?{urllib.parse.urlencode(view, quote_via=urllib.parse.quote)}"


def _without_login(uri: str) -> str:
    """Return a server's URL without user and password: a browser asks for them."""
    parts = urllib.parse.urlsplit(uri.rstrip("/"))
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
