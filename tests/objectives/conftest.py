"""One thread: small networks gain nothing from a second one, and wait for it when the machine is busy."""

from __future__ import annotations

import pytest
import torch


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before each test and its fixtures: trials that ran in this process have set what their study says."""
    torch.set_num_threads(1)
