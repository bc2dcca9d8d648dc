"""`hpo ui`: one address for all studies of a runs folder."""

from __future__ import annotations

from pathlib import Path

import click

from hpo.cli.common import cannot_listen, listen_options, runs_option
from hpo.cli.output import echo, echo_document
from hpo.machine.page_access import LOCAL


@click.command(
    epilog="""\b
Examples:
  hpo ui                            all studies of ./runs; prints a link to open
  hpo ui --open                     opens it in the browser too
  hpo ui --runs /data/runs --port 8090
  ssh -L 8070:127.0.0.1:8070 gpu-machine
                                    on your own machine, to look at studies over there
"""
)
@listen_options(8070)
@click.option("--open", "show", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--allow-remote", is_flag=True, help="Let --host be an address that other machines reach, without encryption."
)
@runs_option
def ui(host: str, port: int, show: bool, allow_remote: bool, runs: Path) -> None:
    """Serve all studies of the runs folder as pages.

    The pages are kept up to date. They show where each study stands and when it ends, the best of each group, running
    trials and what they cost, what ended trials early, heatmaps, parallel coordinates, a table of all trials and a page
    for each, and the report. Their buttons pause, resume, stop and extend a study and kill trials, and start
    optuna-dashboard and MLflow on it. Ctrl-C ends it, with what it has started.

    Only the printed link opens it: the link holds a token, another one each time.
    """
    if host not in LOCAL and not allow_remote:
        raise click.UsageError(
            f"--host {host} is an address that other machines may reach: whoever reads the network can then use the "
            "link, and stop your studies. Tunnel the port instead (`ssh -L`, see the examples), or add --allow-remote"
        )
    from hpo.ui.server import listen, serve

    try:
        listener = listen(host, port)
    except (OSError, OverflowError) as error:
        raise cannot_listen("hpo ui", host, port, error) from error

    def tell(link: str) -> None:
        echo_document(f"{link}\n")
        if not runs.is_dir():
            echo(f"There is no folder {runs} yet; `hpo run STUDY.yaml` makes it, and the page shows it then.")
        if host not in LOCAL:
            echo("What passes over the network is not encrypted: whoever can read it can use the link too.")
        echo("Ctrl-C ends it.")
        if show and click.launch(link) != 0:
            echo("no browser could be started here; open the link yourself", err=True)

    serve(runs, host, listener, tell)
    echo()
