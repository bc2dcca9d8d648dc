"""`hpo dashboard`: optuna-dashboard on the storage of a study."""

from __future__ import annotations

import shlex
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import click

from hpo.cli.common import LOCAL, cannot_listen, find_study, listen_options, runs_option, study_argument


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the page asks for news every few seconds."""


@click.command(
    epilog="""\b
Examples:
  hpo dashboard                     the study last driven
  hpo dashboard quickstart --port 8090
  ssh -L 8080:127.0.0.1:8080 gpu-machine
                                    on your own machine, to look at a study over there
"""
)
@study_argument
@listen_options(8080)
@runs_option
def dashboard(study: str | None, host: str, port: int, runs: Path) -> None:
    """Serve optuna-dashboard on the storage of a study.

    It shows all studies of that storage, also while they run. STUDY is a name in the runs folder or a YAML; by default
    the study last driven. Ctrl-C ends it.
    """
    from optuna_dashboard import wsgi

    from hpo.storage.load_study import load_study
    from hpo.storage.open import dashboard_argument, may_write_storage, open_storage, storage_url
    from hpo.text import redact

    name = find_study(runs, study)
    spec, _ = load_study(runs, name)
    url = storage_url(spec, runs)
    writable = may_write_storage(url)
    # Its buttons write; nothing else does.
    storage = open_storage(url, readonly=not writable)
    try:
        server = make_server(host, port, wsgi(storage), server_class=_Server, handler_class=_Silent)
    except (OSError, OverflowError) as error:
        raise cannot_listen("the dashboard", host, port, error) from error
    with server:
        shown = f"[{host}]" if ":" in host else host
        page = f"http://{shown}:{server.server_port}/dashboard/studies/{storage.get_study_id_from_name(name)}"
        click.echo(f"{page}\n")
        click.echo(f"The same as: optuna-dashboard {shlex.quote(redact(dashboard_argument(url)))}")
        if not writable:
            click.echo("You may not write this storage: its buttons and notes change nothing.")
        if host not in LOCAL:
            rights = "read, change and delete" if writable else "read"
            click.echo(f"Anyone who can reach {host} can {rights} these studies.")
        click.echo("Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo()
