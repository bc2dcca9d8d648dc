"""`hpo dashboard`: optuna-dashboard on the storage of a study."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import click

from hpo.cli.common import cannot_listen, find_study, listen_options, runs_option, study_argument
from hpo.cli.output import echo, echo_document
from hpo.machine.page_access import LOCAL, PageAccess

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerOnIPv6(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the page asks for news every few seconds."""


def guarded(application: WSGIApplication, access: PageAccess) -> WSGIApplication:
    """Return an application that gets only the requests that are let through."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        names = ("host", "origin", "cookie")
        headers = {name: environ.get(f"HTTP_{name.upper()}", "") for name in names}
        reply = access.reply(environ["REQUEST_METHOD"], path, environ.get("QUERY_STRING", ""), headers)
        if reply is None:
            return application(environ, start_response)
        start_response(reply.status, list(reply.headers))
        return [reply.body]

    return answer


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

    Only the printed link opens it, since the page can change and delete studies: the link holds a token, another one
    each time.
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
    application = wsgi(storage)
    try:
        kind = _ServerOnIPv6 if ":" in host else _Server
        server = make_server(host, port, application, server_class=kind, handler_class=_Silent)
    except (OSError, OverflowError) as error:
        raise cannot_listen("the dashboard", host, port, error) from error
    with server:
        access = PageAccess(host, server.server_port, "`hpo dashboard` prints it where it was started")
        server.set_app(guarded(application, access))
        echo_document(f"{access.link(f'/dashboard/studies/{storage.get_study_id_from_name(name)}')}\n")
        echo(f"Without a login: optuna-dashboard {shlex.quote(redact(dashboard_argument(url)))}")
        if not writable:
            echo("You may not write this storage: its buttons and notes change nothing.")
        if host not in LOCAL:
            echo("What passes over the network is not encrypted: whoever can read it can use the link too.")
        echo("Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            echo()
