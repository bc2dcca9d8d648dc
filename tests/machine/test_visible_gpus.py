"""GPUs that this process may use, as $CUDA_VISIBLE_DEVICES names them."""

from __future__ import annotations

import pytest

from hpo.machine.resources import visible_gpus


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("", ()),
        ("-1", ()),
        ("abc", ()),
        ("none", ()),
        ("NoDevFiles", ()),
        ("0", ("0",)),
        (" 1 , 0 ", ("1", "0")),
        ("0,,1", ("0",)),
        ("2,-1,0", ("2",)),
        ("0,1,0", ()),
        ("GPU-8932f937-d72c,MIG-GPU-8932/1/2", ("GPU-8932f937-d72c", "MIG-GPU-8932/1/2")),
        ("1.5", ()),
        ("٣", ()),
    ],
)
def test_what_names_no_gpu_is_none(monkeypatch: pytest.MonkeyPatch, given: str, seen: tuple[str, ...]) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == seen
