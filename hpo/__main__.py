"""`python -m hpo` is `hpo`."""

import sys

from hpo.cli.main import main

sys.exit(main())
