"""`python -m hpo` is `hpo`."""

import os
import sys

# Python has put the working folder first on sys.path, where a user's queue.py would stand in for Python's.
if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    del sys.path[0]

from hpo.cli.main import main

sys.exit(main())
