"""`hpo schema`: print the JSON Schema of study.yaml."""

from __future__ import annotations

from pathlib import Path

import click

from hpo.cli.output import echo, echo_document, say
from hpo.errors import HpoError


@click.command(
    epilog="""\b
Examples:
  hpo schema                                      all of it
  hpo schema --path                               where the file of this installation is
  hpo schema --line                               what to put first into a study.yaml
  hpo schema --output study.schema.json           a copy, to keep beside your studies

\b
In a study.yaml, as its first line, for VS Code (Red Hat's YAML extension), PyCharm, Neovim and others:
  # yaml-language-server: $schema=file:///...     (`hpo schema --line` prints yours)
""",
)
@click.option("--path", "only_path", is_flag=True, help="Print the path of the file that comes with hpo.")
@click.option("--line", "only_line", is_flag=True, help="Print the line by which editors find it.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it to a file."
)
def schema(only_path: bool, only_line: bool, output: Path | None) -> None:
    """Print the JSON Schema of study.yaml, for editors.

    With it an editor completes keys and values, shows what each key means, and marks what is wrong while you type.
    `hpo check` says more: it also looks for the objective, the families and the data.
    """
    from hpo.spec.schema_file import FILE, editor_line

    if sum((only_path, only_line, output is not None)) > 1:
        raise click.UsageError("--path, --line and --output each print or write something else; keep one of them")
    if only_path:
        say(str(FILE))
        return
    if only_line:
        echo(editor_line())
        return
    text = FILE.read_text(encoding="utf-8")
    if output is None:
        echo_document(text.rstrip("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HpoError(
            f"{output} cannot be written: {error.strerror}; expected a file in a folder that exists"
        ) from None
    say(str(output))
