"""`hpo mlflow`: MLflow's pages on the runs of a study."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING

import click

from hpo import layout
from hpo.cli.common import LOCAL, cannot_listen, find_study, listen_options, runs_option, study_argument
from hpo.errors import HpoError

if TYPE_CHECKING:
    from hpo.spec.models import StudySpec

_START_SECONDS = 120.0


@click.command(
    epilog="""\b
Examples:
  hpo mlflow                        of the study last driven
  hpo mlflow quickstart --port 5001
  hpo mlflow quickstart --sync      first write what MLflow lacks: a study that ran
                                    with `mlflow: false` or while the server was down
  ssh -L 5000:127.0.0.1:5000 gpu-machine
                                    on your own machine, to look at one over there
"""
)
@study_argument
@listen_options(5000)
@click.option("--sync", is_flag=True, help="Write what MLflow lacks of the study first.")
@runs_option
def mlflow(study: str | None, host: str, port: int, sync: bool, runs: Path) -> None:
    """Show the runs of a study in MLflow.

    Serves MLflow's pages on the store that holds the runs, also while they are written; of a store
    that is an MLflow server, it prints the address. STUDY is a name in the runs folder or a YAML; by
    default the study last driven. Ctrl-C ends it."""
    from hpo.storage.load_study import load_study
    from hpo.trackers.mlflow import place

    name = find_study(runs, study)
    spec, _ = load_study(runs, name)
    if sync:
        from hpo.trackers.mlflow.sync import sync as write

        write(runs, name, lambda text: click.echo(text, err=True))
    known = place.read_place(layout.study_directory(runs, name))
    command = place.sync_command(runs, name)
    if known is None:
        raise HpoError(f"study '{name}' was not tracked in MLflow; `{command}` writes all of it there")
    uri = place.written_uri(spec, runs, known)
    view = _view(known.key, spec)
    if place.is_server(uri):
        click.echo(_experiment_page(uri, known.experiment, view, command))
    elif uri.startswith("databricks"):
        click.echo(f"the runs are at Databricks ({uri}), in the experiment {known.experiment}")
    else:
        _serve(
            uri,
            place.artifact_folder(uri, runs),
            lambda address: _experiment_page(address, known.experiment, view, command),
            host,
            port,
        )


def _serve(uri: str, artifacts: Path, page: Callable[[str], str], host: str, port: int) -> None:
    from hpo.text import redact

    port = _free_port(host, port)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with tempfile.TemporaryFile("w+") as log, _server(uri, artifacts, host, port, log) as server:
            shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
            address = f"http://{shown}:{port}"
            _await(server, address, log)
            click.echo(f"{page(address)}\n")
            click.echo(f"The same as: mlflow ui --backend-store-uri {shlex.quote(redact(uri))}")
            if host not in LOCAL:
                click.echo(f"Anyone who can reach {host} can read, change and delete these runs.")
            click.echo("Ctrl-C ends it.")
            sys.stdout.flush()
            server.wait()
            raise HpoError(f"the MLflow server ended by itself: {_last_line(log)}")
    except KeyboardInterrupt:
        click.echo()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _free_port(host: str, port: int) -> int:
    """The port to listen on, a free one for 0. Raises HpoError when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            free: int = probe.getsockname()[1]
            return free
    except (OSError, OverflowError) as error:
        raise cannot_listen("MLflow", host, port, error) from error


@contextlib.contextmanager
def _server(uri: str, artifacts: Path, host: str, port: int, log: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """MLflow's own server as a process group, which ends with the block."""
    command = [
        *(sys.executable, "-P", "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"),
        *("--artifacts-destination", str(artifacts)),
    ]
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        text=True,
        env=_environment(uri, host, port),
        start_new_session=True,
    )
    try:
        yield server
    finally:
        for how, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(seconds)


def _environment(uri: str, host: str, port: int) -> dict[str, str]:
    """The store's URL goes this way, as it may hold a password. By itself MLflow answers browsers only that
    call it localhost; asked to listen elsewhere, it must answer to this machine's names too."""
    given = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # more processes, for features of language models
    }
    if host not in LOCAL:
        names = {host, socket.gethostname(), socket.getfqdn()}
        with contextlib.suppress(OSError):
            names |= {str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)}
        names = {f"[[]{name}]" if ":" in name else name for name in names | {"localhost", "127.0.0.1"}}
        given["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(sorted(f"{name}:*" for name in names))
        origins = sorted(f"http://{name.replace('[[]', '[')}:{port}" for name in names)
        given["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(origins)
    return {**given, **os.environ, "MLFLOW_BACKEND_STORE_URI": uri}


def _await(server: subprocess.Popen[str], address: str, log: IO[str]) -> None:
    """Until the server answers. Raises HpoError when it ends or takes too long."""
    began = time.monotonic()
    while time.monotonic() - began < _START_SECONDS:
        if server.poll() is not None:
            raise HpoError(f"the MLflow server did not start: {_last_line(log)}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
            return
        time.sleep(0.1)
    raise HpoError(f"the MLflow server did not answer within {_START_SECONDS:g} s: {_last_line(log)}")


def _last_line(log: IO[str]) -> str:
    log.seek(0)
    lines = [line.strip() for line in log if line.strip()]
    return lines[-1] if lines else "it printed nothing"


def _view(key: str, spec: StudySpec) -> str:
    """The part of an address that makes MLflow show the trials of a study side by side, the best first. (In
    its own order they would hide behind their parent.)"""
    from hpo.trackers.mlflow.records import name_of

    metric = spec.metrics[0]
    chosen = {
        "searchFilter": f"tags.`hpo.key` = '{key}' and tags.`hpo.kind` = 'trial'",
        "orderByKey": f"metrics.`{name_of(f'final/{metric.name}')}`",
        "orderByAsc": "true" if metric.direction == "minimize" else "false",
        "compareRunsMode": "CHART",
    }
    return urllib.parse.urlencode(chosen, quote_via=urllib.parse.quote)


def _experiment_page(server: str, experiment: str, view: str, sync: str) -> str:
    """The address of the experiment's runs, shown as `view` says. Raises HpoError when the server does
    not answer, or has no such experiment, which the command `sync` makes."""
    from hpo.text import redact

    parts = urllib.parse.urlsplit(server.rstrip("/"))
    base = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    query = urllib.parse.urlencode({"experiment_name": experiment})
    request = urllib.request.Request(
        f"{base}/api/2.0/mlflow/experiments/get-by-name?{query}", headers=_credentials(parts)
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            number = json.load(answer)["experiment"]["experiment_id"]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            raise HpoError(
                f"MLflow at {redact(server)} has no experiment '{experiment}'; `{sync}` writes it"
            ) from error
        raise HpoError(f"MLflow at {redact(server)} refused to answer: {error}") from error
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        said = getattr(error, "reason", None) or error
        raise HpoError(f"MLflow at {redact(server)} does not answer: {said}") from error
    return f"{base}/#/experiments/{number}/runs?{view}"


def _credentials(parts: urllib.parse.SplitResult) -> dict[str, str]:
    """As MLflow's own client takes them: from its environment, else from the URL."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    user = os.environ.get("MLFLOW_TRACKING_USERNAME") or urllib.parse.unquote(parts.username or "")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD") or urllib.parse.unquote(parts.password or "")
    if not user:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
