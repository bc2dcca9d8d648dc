"""The generator of trainings with known faults, which the benchmark of the diagnosis judges."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def generator() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "diagnosis.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_diagnosis", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
