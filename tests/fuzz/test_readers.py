"""Readers of files from elsewhere, given damaged ones at random: an HpoError at most, in time, in little memory.

Each reader works in a process of its own, whose memory is limited. `HPO_FUZZ_SECONDS=600 pytest -m slow tests/fuzz`
lets each work for ten minutes; the seed of an input that fails is in the message.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("HPO_FUZZ_SECONDS", "30"))
READERS = ("yaml", "rules", "logs", "knowledge", "requests", "history")


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_survives_whatever_it_is_given(reader, tmp_path):
    command = [sys.executable, "-P", "-m", "tests.fuzz.fuzz", reader, str(tmp_path), str(SECONDS)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
