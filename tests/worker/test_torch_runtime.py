"""What is seen of torch's use of a GPU, with the torch that is installed."""

from __future__ import annotations

import subprocess
import sys
import warnings
from types import ModuleType

import pytest
import torch

from hpo.worker import torch_runtime


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have imported libraries that compute on GPUs."""
    for name in torch_runtime._OTHERS & sys.modules.keys():
        monkeypatch.delitem(sys.modules, name)


def test_a_torch_without_a_gpu_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("torch sees a GPU here")
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else ""
    assert torch_runtime.unused_gpu() == {"torch": torch.__version__, "built": built, "sees": False}
    assert torch_runtime.device() == "cpu"


def test_memory_on_a_gpu_is_use_of_it() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU here")
    torch_runtime.prepare(0, None, 1.0)
    torch.ones(8, device="cuda").sum().item()
    assert torch_runtime.unused_gpu() == {}


def test_a_library_that_may_compute_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", ModuleType("jax"))
    assert torch_runtime.unused_gpu() == {}
    assert torch.cuda.is_available() or torch_runtime.device() == ""


def test_warnings_as_errors_do_not_end_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_available() -> bool:
        warnings.warn("the driver is too old", UserWarning, stacklevel=2)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch_runtime.unused_gpu()["sees"] is False


def test_without_torch_nothing_is_said() -> None:
    code = "from hpo.worker import torch_runtime as t; print(t.unused_gpu(), repr(t.device()))"
    said = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "{} ''\n"
