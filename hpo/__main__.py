"""`python -m hpo` is `hpo`."""

from hpo.cli.main import run_process

run_process()
