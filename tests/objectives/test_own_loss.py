"""A loss of the user's own: found by its name, given its parameters, trained; and every mistake has a sentence."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hpo.spec.load import load_spec
from hpo.trial import Interrupted, Job, ObjectiveRef, Trial
from objectives import audio_angle, glaucoma, mitochondria
from objectives.losses.own import OwnLoss
from objectives.options import OWN_LOSS, chosen
from objectives.recording import STEPS
from tests.objectives.trials import Reports

PAGE = Path(__file__).parents[2] / "docs" / "tasks" / "training.md"
DEFAULTS: dict[str, Any] = {"loss": "bce", "gamma": 2.0, "epochs": 3}
DATA = {"patch_size": 32, "slices": 4, "height": 64, "width": 64}

LOSSES = '''
import torch
from torch import nn

SCALE = 3.0

def scaled(logits, targets, scale, gamma=1.0):
    """scale (mean of (logits - targets)^gamma): gamma is a name that the tasks know too."""
    return scale * ((logits - targets).abs() ** gamma).mean()

def rows(logits, targets):
    return (logits - targets).flatten(1).mean(1)

def hinge(higher, lower, sign, margin=1.0):
    return (margin - sign * (higher - lower)).clamp(min=0).mean()

class Learned(nn.Module):
    """Squared error by a learned precision, which counts its training calls."""

    def __init__(self, start=0.0):
        super().__init__()
        self.log_variance = nn.Parameter(torch.tensor(float(start)))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, logits, targets):
        if self.training:
            self.calls += 1
        return (logits - targets).square().mean() * (-self.log_variance).exp() + self.log_variance
'''


@pytest.fixture
def losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the study's folder, which no other test has imported."""
    name = f"losses_of_{re.sub(r'[^a-z0-9]', '_', tmp_path.name.lower())}"
    (tmp_path / f"{name}.py").write_text(LOSSES)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return name


def trial_in(root: Path, reports: Reports, constants: dict[str, Any], **params: Any) -> Trial:
    folder = root / "trial"
    folder.mkdir(parents=True, exist_ok=True)
    return Trial(Job(0, params, 5, ObjectiveRef(target="x:y", root=str(root)), constants, folder, ("x",)), reports)


def options(root: Path, tensors: int = 2, **params: Any) -> dict[str, Any]:
    return chosen(trial_in(root, Reports(), {}, **params), DEFAULTS, tensors)


def test_a_function_is_called_with_what_the_study_gives(tmp_path: Path, losses: str) -> None:
    logits, targets = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])
    found = options(tmp_path, loss=f"{losses}:scaled", scale=10.0)
    assert found[OWN_LOSS](logits, targets).item() == pytest.approx(10 * (1 + 2) / 2), "its own default of gamma"
    found = options(tmp_path, loss=f"{losses}:scaled", scale=10.0, gamma=2.0)
    assert found[OWN_LOSS](logits, targets).item() == pytest.approx(10 * (1 + 4) / 2)
    assert found["scale"] == 10.0
    found = options(tmp_path, tensors=3, loss=f"{losses}:hinge", margin=2.0)
    assert found[OWN_LOSS](logits, targets, torch.tensor([1.0, -1.0])).item() == pytest.approx((1 + 4) / 2)


def test_a_class_is_made_with_what_the_study_gives(tmp_path: Path, losses: str) -> None:
    own = options(tmp_path, loss=f"{losses}:Learned", start=2)[OWN_LOSS]
    assert [name for name, _ in own.named_parameters()] == ["loss.log_variance"]
    assert own(torch.ones(2), torch.zeros(2)).item() == pytest.approx(2.7182818**-2 + 2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"loss": "los:scaled"},
            r"loss is 'los:scaled', but there is no module los in .*; expected package",
        ),
        ({"loss": "{}.sub:scaled"}, r"there is no module \w+\.sub in"),
        ({"loss": "{}:scale"}, r"but \w+ has no scale; expected a function or a class\. Did you mean 'scaled'\?"),
        ({"loss": "{}:SCALE"}, r"but SCALE of \w+ is float; expected a function or a class"),
        ({"loss": "{}:"}, r"loss is '\w+:'; expected package\.module:loss, such as my_losses:tversky"),
        ({"loss": "my losses:tversky"}, r"loss is 'my losses:tversky'; expected package\.module:loss"),
        ({"loss": "{}:scaled"}, r"loss \w+:scaled needs scale, which the study does not give; expected a value in"),
        ({"loss": "{}:scaled", "scale": 1, "gama": 2}, r"search_space\.gama is not known; .* Did you mean 'gamma'\?"),
        ({"loss": "bce", "scale": 1}, r"search_space\.scale is not known; expected loss, gamma, epochs"),
    ],
)
def test_what_is_wrong_is_a_sentence(tmp_path: Path, losses: str, params: dict[str, Any], message: str) -> None:
    params = {**params, "loss": params["loss"].format(losses)}
    with pytest.raises(ValueError, match=message) as caught:
        options(tmp_path, **params)
    assert "\n" not in str(caught.value)


def test_a_module_that_raises_is_named_with_what_it_said(tmp_path: Path, losses: str) -> None:
    (tmp_path / f"{losses}_b.py").write_text("import no_such_package_of_mine\n")
    with pytest.raises(ValueError, match="_b raised ModuleNotFoundError: No module named 'no_such_package_of_mine'"):
        options(tmp_path, loss=f"{losses}_b:tversky")
    (tmp_path / f"{losses}_c.py").write_text("1 / 0\n")
    with pytest.raises(ValueError, match="_c raised ZeroDivisionError: division by zero; expected a module that can"):
        options(tmp_path, loss=f"{losses}_c:tversky")


@pytest.mark.parametrize(
    ("value", "message"),
    [(torch.ones(3), r"returned a tensor of shape \(3,\)"), (1.0, "returned float; expected a tensor of one number")],
)
def test_a_loss_returns_one_number(value: Any, message: str) -> None:
    def loss(logits: Tensor, targets: Tensor) -> Any:
        return value

    with pytest.raises(ValueError, match=message):
        OwnLoss("my_losses:loss", loss, {})(torch.ones(3), torch.ones(3))


def test_a_loss_with_a_state_is_trained_and_resumed_to_the_same_bits(tmp_path: Path, losses: str) -> None:
    constants = {"base_width": 2, "epochs": 3, "batch_size": 4, "data": DATA}
    whole, cut = Reports(), Reports()
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{losses}.py").write_text(LOSSES)
    params = {"loss": f"{losses}:Learned"}
    mitochondria.train(trial_in(tmp_path / "whole", whole, constants, **params))
    cut.stop_at = 2
    with pytest.raises(Interrupted):
        mitochondria.train(trial_in(tmp_path / "cut", cut, constants, **params))
    state = torch.load(tmp_path / "cut" / "trial" / "weights.pt", weights_only=True)
    assert not [name for name in state["model"] if "log_variance" in name], "the weights are the network's alone"
    cut.stop_at = 0
    mitochondria.train(trial_in(tmp_path / "cut", cut, constants, **params))
    assert whole.curves() == cut.curves()
    assert sorted(whole) == [1, 2, 3]
    assert 0 <= mitochondria.evaluate(trial_in(tmp_path / "whole", whole, constants, **params), None)["jaccard"] <= 1


def test_each_task_with_losses_trains_one_of_the_users(tmp_path: Path, losses: str) -> None:
    photos = {"images": 60, "image_size": 16, "prevalence": 0.3, "val_fraction": 0.4}
    sounds = {"clips": 60, "sample_rate": 8000, "seconds": 0.2, "n_fft": 256, "hop": 128, "bands": 16}
    reports = Reports()
    constants = {"architecture": "cnn", "base_width": 2, "epochs": 1, "l2": 0.0, "data": photos}
    trial = trial_in(tmp_path / "eyes", reports, constants, loss=f"{losses}:scaled", scale=2.0)
    (tmp_path / "eyes" / f"{losses}.py").write_text(LOSSES)
    assert glaucoma.train(trial)["val_loss"] > 0
    assert glaucoma.evaluate(trial, None)["loss"] > 0
    constants = {"base_width": 2, "epochs": 1, "pairs_per_epoch": 40, "data": sounds}
    trial = trial_in(tmp_path / "sounds", reports, constants, loss=f"{losses}:hinge", margin=1.0)
    found = audio_angle.train(trial)
    assert found["train_loss"] == pytest.approx(found["train_original"]), "the same hinge, computed twice"
    assert audio_angle.evaluate(trial, None)["loss"] > 0
    with np.load(tmp_path / "sounds" / "trial" / STEPS) as steps:
        assert {"loss", "original", "reweighted"} <= set(steps.files)


def test_the_example_of_the_page_trains(tmp_path: Path) -> None:
    page = PAGE.read_text()
    section = page[page.index("## A loss of your own") :]
    code, study = (re.findall(rf"```{kind}\n(.*?)```", section, re.DOTALL)[0] for kind in ("python", "yaml"))
    (tmp_path / "my_losses.py").write_text(code)
    (tmp_path / "study.yaml").write_text(
        study + "enqueue: [{learning_rate: 1.0e-3, loss: my_losses:tversky, beta: 0.7}]\n"
    )
    spec = load_spec(str(tmp_path / "study.yaml"))  # refuses an enqueued trial that the space does not have
    reports = Reports()
    params = {"learning_rate": 1e-3, "loss": "my_losses:tversky", "beta": 0.7}
    found = mitochondria.train(trial_in(tmp_path, reports, dict(spec.constants), **params))
    assert sorted(reports) == [1, 2]
    assert 0 < found["val_loss"] < 1
