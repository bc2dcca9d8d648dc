"""`hpo`: the console entry. A command's file is imported only when that command is called."""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click
from click.shell_completion import CompletionItem, shell_complete

from hpo import __version__
from hpo.cli.complete import folders
from hpo.cli.completion import VARIABLE as COMPLETE
from hpo.cli.output import echo
from hpo.errors import HpoError
from hpo.machine.terminal import discard, fails, open_missing_streams
from hpo.text import nearest

# The module and name of each click command, and the line that `hpo --help` shows: the first sentence of its help.
COMMANDS = {
    "init": ("hpo.cli.init:init", "Write the first files of a study."),
    "run": ("hpo.cli.run:run", "Run a study, or go on with it."),
    "check": ("hpo.cli.check:check", "Validate a study and print its plan; nothing is run."),
    "try": ("hpo.cli.try_:try_", "Train one trial for an epoch or two, and say what is not as it is meant."),
    "plan": ("hpo.cli.plan:plan", "Say what a study costs before it is spent."),
    "schema": ("hpo.cli.schema:schema", "Print the JSON Schema of study.yaml, for editors."),
    "submit": ("hpo.cli.submit:submit", "Submit a study to SLURM or PBS."),
    "status": ("hpo.cli.status:status", "Show where a study stands."),
    "trials": ("hpo.cli.trials:trials", "List the trials of a study, the best first."),
    "logs": ("hpo.cli.logs:logs", "Print the log of a study, or the output of a trial."),
    "pause": ("hpo.cli.pause:pause", "Pause a study: no new trials start."),
    "resume": ("hpo.cli.resume:resume", "Resume a paused study."),
    "stop": ("hpo.cli.stop:stop", "Stop the run of a study, as Ctrl-C does."),
    "kill": ("hpo.cli.kill:kill", "Kill running trials; they are not retried."),
    "extend": ("hpo.cli.extend:extend", "Extend the budget of a study, also while it runs."),
    "grow": ("hpo.cli.grow:grow", "Give a study a wider search space, with all its trials."),
    "report": ("hpo.cli.report:report", "Write the report of a study again."),
    "compare": ("hpo.cli.compare:compare", "Compare studies, or trials, with each other."),
    "diagnose": ("hpo.cli.diagnose:diagnose", "Say what went well or wrong in one training."),
    "replay": ("hpo.cli.replay:replay", "Replay recorded trials under another pruner, sampler or red flag."),
    "best": ("hpo.cli.best:best", "Print the best configuration, as a study of its own."),
    "confirm": ("hpo.cli.confirm:confirm", "Train the best configurations again with fresh seeds."),
    "reproduce": (
        "hpo.cli.reproduce:reproduce",
        "Train a trial again, and say whether the numbers are the same.",
    ),
    "continue": ("hpo.cli.continue_:continue_", "Train a trial on from its last checkpoint, as a new trial."),
    "evaluate": ("hpo.cli.evaluate:evaluate", "Score the weights of the winner on held-out data."),
    "ensemble": ("hpo.cli.ensemble:ensemble", "Average the best trials' kept weights, beside the winner."),
    "predict": ("hpo.cli.predict:predict", "Write what the kept weights of the winner say of new files."),
    "list": ("hpo.cli.list:list_studies", "List the studies of the runs folder."),
    "export": ("hpo.cli.export:export", "Export a study: CSV, Parquet, Optuna, LaTeX."),
    "import": ("hpo.cli.import_:import_", "Import finished trials of Optuna, MLflow, CSV or W&B."),
    "export-knowledge": (
        "hpo.cli.export_knowledge:export_knowledge",
        "Export the results of studies into one small file.",
    ),
    "import-knowledge": ("hpo.cli.import_knowledge:import_knowledge", "Import results of studies run elsewhere."),
    "ui": ("hpo.cli.ui:ui", "Serve all studies of the runs folder as pages."),
    "dashboard": ("hpo.cli.dashboard:dashboard", "Serve optuna-dashboard on the storage of a study."),
    "mlflow": ("hpo.cli.mlflow:mlflow", "Show the runs of a study in MLflow."),
    "doctor": ("hpo.cli.doctor:doctor", "Say what is wrong with studies, and fix it."),
    "completion": ("hpo.cli.completion:completion", "Print the script by which bash, zsh or fish complete hpo."),
    "backup": ("hpo.cli.backup:backup", "Save studies, also while they run."),
    "restore": ("hpo.cli.restore:restore", "Bring studies back from the trash or from a backup."),
    "delete": ("hpo.cli.delete:delete", "Delete a study: its trials, its files, its report."),
}

INTERRUPTED = 130
# What a shell reports of a program that SIGPIPE ended.
BROKEN_PIPE = 141
# Commands that read all trials and then have nothing more to do.
_READING = frozenset({"status", "list", "trials", "best"})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class LazyGroup(click.Group):
    """Group of commands that imports the file of a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now, or None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of a command line, or say which commands there are."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            hint = nearest(name, COMMANDS) or f" Expected one of {', '.join(COMMANDS)}."
            raise click.UsageError(f"there is no command '{name}'.{hint}", ctx)
        found = super().resolve_command(ctx, args)
        command = found[1]
        if ctx.params.get("runs") and command is not None and all(one.name != "runs" for one in command.params):
            raise click.UsageError(f"`hpo {name}` reads no runs folder; leave --runs out", ctx)
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands that begin so, without importing them, and options."""
        found = [CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  hpo init train.py                        a study for your script, or from nothing: --task
  hpo check study.yaml                     is it right, and what would it do?
  hpo try study.yaml                       two epochs of one trial: what is not as it is meant?
  hpo plan study.yaml --probe              when will it end?
  hpo run study.yaml                       search; the same command again goes on
  hpo run study.yaml --trials 3 --set constants.epochs=2
  hpo status                               of the study last driven
  hpo logs --follow                        of a study that runs elsewhere
  hpo best > best.yaml && hpo run best.yaml
  hpo confirm                              the best again, with fresh seeds
  hpo evaluate --data DIR                  the winner on data it has not seen
  hpo ui                                   all studies as pages; prints a link to open
  hpo dashboard                            prints a link to open
  hpo mlflow                               http://127.0.0.1:5000

\b
Files:
  Studies go to ./runs; --runs DIR or $HPO_RUNS names another folder.
  HPO_LANG=zh-TW writes reports in Traditional Chinese.
  HPO_DEBUG=1 shows the traceback behind an error.

\b
Completion by TAB, in ~/.bashrc (also for zsh and fish: hpo completion --help):
  eval "$(hpo completion bash)"
""",
)
@click.version_option(__version__, prog_name="hpo", message="%(prog)s %(version)s")
@click.option(
    "--runs",
    metavar="DIR",
    shell_complete=folders,
    help="Folder of all studies; it may also stand behind the command.",
)
@click.pass_context
def cli(context: click.Context, runs: str | None) -> None:
    """Search hyperparameters: one YAML says what to try, the result is a configuration and a report."""
    if runs is not None:
        context.default_map = {name: {"runs": runs} for name in COMMANDS}


def complain(message: str) -> None:
    """Print `hpo: message` on stderr, further lines aligned with the first, without any URL's password."""
    echo("hpo: " + message.replace("\n", "\n     "), err=True)


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code.

    Exit codes: 0 success, 1 the study or command failed, 2 wrong usage or input, 3 another driver holds the study, 4
    it was stopped (`hpo stop`) or is paused, 130 interrupted.

    Args:
        args: The arguments after `hpo`; by default those of the process.
    """
    open_missing_streams()
    # Of a hundred thousand trials, millions of objects stay: looking through them again and again takes seconds.
    gc.set_threshold(100_000, 50, 100)
    if instruction := os.environ.get(COMPLETE):
        return _complete(instruction)
    given = list(sys.argv[1:] if args is None else args)
    try:
        os.getcwd()
    except OSError:
        complain("the current folder is not there any more; change to another one, such as `cd ~`")
        return 2
    try:
        code = _invoke(given)
        if fails(sys.stdout):  # of a command whose work is done: the interpreter's shutdown must not fail on it
            discard(sys.stdout)
        return code
    except BrokenPipeError:
        discard(sys.stdout)
        return BROKEN_PIPE
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL or os.environ.get("HPO_DEBUG") == "1":
            raise
        discard(sys.stdout)
        complain(f"what was asked for cannot be written: {error.strerror}")
        return 1


def run_process() -> NoReturn:
    """Run the command line of this process and end it with the exit code."""
    given = sys.argv[3:] if sys.argv[1:2] == ["--runs"] else sys.argv[1:]
    if next((word for word in given if not word.startswith("-")), "") not in _READING:
        sys.exit(main())
    # Of a hundred thousand trials millions of objects stay until the end, which is near: neither looking for those that
    # could go, nor freeing all one by one, is worth a third of `hpo status`.
    gc.disable()
    code = main()
    if fails(sys.stderr):
        discard(sys.stderr)
    os._exit(code)  # `main` has written what was printed


def _complete(instruction: str) -> int:
    """Answer a shell that asks for completions. Where that fails there are none, for its user is typing a line."""
    if os.environ.get("HPO_DEBUG") == "1":
        return shell_complete(cli, {}, "hpo", COMPLETE, instruction)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            return shell_complete(cli, {}, "hpo", COMPLETE, instruction)
    except BaseException:  # whatever a folder, a file or an interrupt does
        return 1


def _without_lists(error: click.UsageError) -> str:
    """Return what is wrong with a command line; of several options that are spelled alike, the nearest."""
    if isinstance(error, click.NoSuchOption):
        return f"{error.message}{nearest(error.option_name, error.possibilities or ())}"
    return error.format_message()


def _invoke(args: list[str]) -> int:
    try:
        # The command line itself is kept for messages that tell how to repeat it.
        with cli.make_context("hpo", args, obj=("hpo", *args)) as context:
            code = cli.invoke(context)
            return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        place = error.ctx.command_path if error.ctx else "hpo"
        behind = isinstance(error, click.NoSuchOption) and error.ctx is not None and error.ctx.parent is None
        said = f"{_without_lists(error)}{' Options of a command stand behind it.' if behind else ''}"
        complain(f"{said}\n`{place} --help` shows how it is called.")
        return error.exit_code
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        complain("interrupted")
        return INTERRUPTED
    except OSError as error:
        from hpo.machine.access import denial, is_denied

        if os.environ.get("HPO_DEBUG") == "1" or not is_denied(error):
            raise
        complain(str(denial(error)))
        return HpoError.exit_code
    except HpoError as error:
        if os.environ.get("HPO_DEBUG") == "1":
            raise
        complain(str(error))
        return error.exit_code


if __name__ == "__main__":
    run_process()
