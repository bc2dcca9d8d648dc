"""Scripts whose command line Click, Typer or Fire makes of a function: what is read, and that the script takes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpo.errors import ScaffoldError
from hpo.objective.command_line import fill_command
from hpo.scaffold.from_script import from_script
from hpo.scaffold.write_yaml import study_text
from hpo.spec.load import load_spec
from hpo.spec.models import StudySpec

DATA = "digits"
CLICK = """\
import json
import click as c
from click import option

@c.group()
def cli(): pass

@cli.command()
@option("--model")
def evaluate(model): pass

@cli.command()
@c.argument("data")
@c.option("-l", "--lr", "learning_rate", type=float, default=1e-3)
@option("--momentum", type=c.FloatRange(0.85, 0.95), default=0.9)
@option("--batch-size", default=32)
@option("--optimizer", type=c.Choice(["adam", "sgd"]), default="adam")
@option("--nesterov", is_flag=True)
@option("--augment/--no-augment", default=True)
@option("--layer", type=int, multiple=True)
@option("--seed", type=int)
@option("--epochs", type=c.INT, default=3, show_default=True)
def train_cmd(**given):
    print(json.dumps(given))

if __name__ == "__main__":
    cli()
"""

TYPER = """\
import json
from enum import Enum
from typing import Annotated, Literal, Optional
import typer

class Optimizer(str, Enum):
    adam = "adam"
    sgd = "sgd"

app = typer.Typer()

@app.command()
def main(
    context: typer.Context,
    data: str,
    learning_rate: Annotated[float, typer.Option("--lr", "-l")] = 1e-3,
    momentum: float = typer.Option(0.9, min=0.85, max=0.95),
    batch_size: int = 32,
    optimizer: Optimizer = Optimizer.adam,
    activation: Literal["relu", "elu"] = "relu",
    nesterov: Annotated[bool, typer.Option("--nesterov")] = False,
    augment: bool = True,
    layer: list[int] = [],
    seed: Optional[int] = None,
    epochs: "int" = 3,
):
    given = {"data": data, "learning_rate": learning_rate, "momentum": momentum, "batch_size": batch_size}
    given |= {"optimizer": optimizer.value, "activation": activation, "nesterov": nesterov, "augment": augment}
    given |= {"seed": seed, "epochs": epochs}
    print(json.dumps(given))

if __name__ == "__main__":
    app()
"""

FIRE = """\
import json
import fire

def train(data, lr=1e-3, batch_size: int = 32, *, augment=True, optimizer="adam", seed: "int | None" = None, epochs=3):
    given = {"data": data, "lr": lr, "batch_size": batch_size, "augment": augment, "optimizer": optimizer}
    print(json.dumps({**given, "seed": seed, "epochs": epochs}))

if __name__ == "__main__":
    fire.Fire(train)
"""

TYRO = """\
import json
from dataclasses import asdict, dataclass, field
from typing import Literal
import tyro

@dataclass
class Optimizer:
    lr: float = 3e-4
    weight_decay: float = 1e-4
    nesterov: bool = False

@dataclass
class Args:
    data: str
    optimizer: Optimizer = field(default_factory=Optimizer)
    batch_size: int = field(default=64)
    gamma: float = 0.99
    loss: Literal["bce", "focal"] = "focal"
    focal_gamma: float = 2.0
    augment: bool = True
    sizes: tuple[int, ...] = (1, 2)
    seed: int = 1
    epochs: int = 3

if __name__ == "__main__":
    print(json.dumps(asdict(tyro.cli(Args))))
"""


def study(folder: Path, text: str) -> tuple[Path, StudySpec]:
    script = folder / "train.py"
    script.write_text(text)
    (folder / "study.yaml").write_text(study_text(from_script(script).draft))
    return script, load_spec(folder / "study.yaml")


def taken(script: Path, spec: StudySpec, **params: object) -> dict[str, Any]:
    """What the script gets of a trial's command."""
    words = fill_command(spec.objective_ref(), params, {**spec.constants, "data": DATA}, 5, "/trial", 0)[2:]
    ran = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def ranges(spec: StudySpec) -> dict[str, Any]:
    return {
        one.name: one.choices if one.kind == "categorical" else (one.low, one.high) for one in spec.space.parameters
    }


def test_options_of_click(tmp_path: Path) -> None:
    script, spec = study(tmp_path, CLICK)
    assert ranges(spec) == {
        "learning_rate": (1e-4, 1e-2),
        "momentum": (0.85, 0.95),
        "batch_size": (16, 32, 64),
        "optimizer": ("adam", "sgd"),
        "nesterov": (False, True),
        "augment": ("--no-augment", "--augment"),
    }
    assert spec.constants["epochs"] == 3
    params = {"learning_rate": 1e-5, "momentum": 0.95, "batch_size": 64, "optimizer": "sgd", "augment": "--no-augment"}
    got = taken(script, spec, **params, nesterov=False)
    assert got == {**params, "data": DATA, "augment": False, "nesterov": False, "seed": 5, "epochs": 3, "layer": []}
    assert taken(script, spec, **params, nesterov=True, nesterov_flag="--nesterov")["nesterov"] is True


def test_a_function_of_typer(tmp_path: Path) -> None:
    script, spec = study(tmp_path, TYPER)
    assert ranges(spec) == {
        "learning_rate": (1e-4, 1e-2),
        "momentum": (0.85, 0.95),
        "batch_size": (16, 32, 64),
        "optimizer": ("adam", "sgd"),
        "activation": ("relu", "elu"),
        "nesterov": (False, True),
        "augment": ("--no-augment", "--augment"),
    }
    params = {"learning_rate": 1e-5, "momentum": 0.95, "batch_size": 64, "optimizer": "sgd", "augment": "--no-augment"}
    got = taken(script, spec, **params, activation="elu", nesterov=True, nesterov_flag="--nesterov")
    given = {"data": DATA, "augment": False, "activation": "elu", "nesterov": True, "seed": 5, "epochs": 3}
    assert got == {**params, **given}


def test_a_function_of_fire(tmp_path: Path) -> None:
    script, spec = study(tmp_path, FIRE)
    assert ranges(spec) == {"learning_rate": (1e-4, 1e-2), "batch_size": (16, 32, 64), "augment": ("False", "True")}
    got = taken(script, spec, learning_rate=1e-5, batch_size=64, augment="False")
    given = {"data": DATA, "augment": False, "optimizer": "adam", "seed": 5, "epochs": 3}
    assert got == {"lr": 1e-5, "batch_size": 64, **given}


def test_a_dataclass_of_tyro(tmp_path: Path) -> None:
    script, spec = study(tmp_path, TYRO)
    assert ranges(spec) == {
        "learning_rate": (3e-5, 3e-3),
        "weight_decay": (1e-5, 1e-3),
        "nesterov": ("--optimizer.no-nesterov", "--optimizer.nesterov"),
        "batch_size": (32, 64, 128),
        "gamma": (0.1, 0.99),
        "loss": ("bce", "focal"),
        "augment": ("--no-augment", "--augment"),
    }
    params = {"learning_rate": 1e-5, "weight_decay": 1e-3, "nesterov": "--optimizer.nesterov", "batch_size": 32}
    got = taken(script, spec, **params, gamma=0.5, loss="focal", focal_gamma=1.5, augment="--no-augment")
    assert got["optimizer"] == {"lr": 1e-5, "weight_decay": 1e-3, "nesterov": True}
    given = {"data": DATA, "batch_size": 32, "gamma": 0.5, "loss": "focal", "focal_gamma": 1.5, "augment": False}
    assert {name: got[name] for name in given} == given
    assert (got["seed"], got["epochs"], got["sizes"]) == (5, 3, [1, 2])
    assert taken(script, spec, **params, gamma=0.5, loss="bce", augment="--augment")["focal_gamma"] == 2.0


ODD = {
    "nothing": "@click.option()",
    "names that are computed": "@click.option(*names, default=1e-3)",
    "a slash alone": '@click.option("--lr/", default=1e-3)',
    "a short word for no": '@click.option("--shuffle/-S", default=True)',
    "a default outside the range": '@click.option("--dropout", type=click.FloatRange(0.6, 0.7), default=0.1)',
    "a range without numbers": '@click.option("--dropout", type=click.FloatRange(LOW, HIGH), default=0.1)',
    "choices that are computed": '@click.option("--optimizer", type=click.Choice(list(names)))',
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_odd_is_left_to_the_script(tmp_path: Path, case: str) -> None:
    path = tmp_path / "train.py"
    path.write_text(
        f"import click\n@click.command()\n{ODD[case]}\n@click.option('--wd', default=1e-4)\ndef f(**_): 0\n"
    )
    draft = from_script(path).draft
    assert draft.parameters[-1].name == "weight_decay"
    (tmp_path / "study.yaml").write_text(study_text(draft))
    load_spec(tmp_path / "study.yaml")


# The call, the function, and the words of the command; None: nothing is searched.
SIGNATURES: dict[str, tuple[str, str, list[str] | None]] = {
    "no arguments": ("typer.run()", "def f(lr: float = 1e-3): 0", None),
    "a lambda": ("fire.Fire(lambda: 0)", "def f(lr=1e-3): 0", None),
    "no type": ("typer.run(f)", "def f(lr: Annotated = 1e-3): 0", None),
    "any arguments": ("fire.Fire(f)", "def f(*args, lr=1e-3, **more): 0", ["--lr={learning_rate}"]),
    "an option of nothing": ("typer.run(f)", "def f(lr: float = typer.Option()): 0", ["--lr", "{learning_rate}"]),
    "three dots": ("typer.run(f)", "def f(lr: float = typer.Option(...)): 0", ["--lr", "{learning_rate}"]),
    "a default among marks": (
        "typer.run(f)",
        "def f(lr: Annotated[float, typer.Option(1e-3, '--rate')]): 0",
        ["--rate", "{learning_rate}"],
    ),
    "types that are text": (
        "typer.run(f)",
        "def f(batch_size: 'int | None' = 32, lr: 'class' = 1e-3, wd: 'no type' = 1e-4, dropout: '\\0' = 0.1): 0",
        ["--batch-size", "{batch_size}", "--lr", "{learning_rate}", "--wd", "{weight_decay}", "--dropout", "{dropout}"],
    ),
    "a class that holds itself": (
        "tyro.cli(Node)",
        "class Node:\n    lr: float = 1e-3\n    child: 'Node | None' = None",
        ["--lr", "{learning_rate}", "--child.lr", "{learning_rate_2}"],
    ),
}


@pytest.mark.parametrize("case", SIGNATURES)
def test_odd_functions(tmp_path: Path, case: str) -> None:
    call, function, words = SIGNATURES[case]
    path = tmp_path / "train.py"
    path.write_text(f"import typer, fire, tyro\nfrom typing import Annotated\n{function}\n{call}\n")
    if words is None:
        with pytest.raises(ScaffoldError, match="nothing that is known to be searched"):
            from_script(path)
        return
    draft = from_script(path).draft
    assert draft.command == ["python", "train.py", *words]
    (tmp_path / "study.yaml").write_text(study_text(draft))
    load_spec(tmp_path / "study.yaml")


def test_the_command_that_trains_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    commands = "@app.command()\ndef evaluate(lr: float = 0.1): 0\n@app.command('fit')\ndef g(wd: float = 1e-4): 0\n"
    path.write_text(f"import typer\napp = typer.Typer()\n{commands}app()\n")
    draft = from_script(path).draft
    assert draft.command[:3] == ["python", "train.py", "fit"]
    assert [one.name for one in draft.parameters] == ["weight_decay"]
    assert draft.notes == ["the subcommand fit is used; arguments of evaluate are left out"]
