"""Metrics found in scripts as people write them, and the line that reports them."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest

from hpo.scaffold.changes import edit, report_changes
from hpo.scaffold.choose_metric import choose_metric
from hpo.scaffold.from_script import from_script
from hpo.scaffold.python_source import Script
from hpo.scaffold.read_metrics import read_metrics

LOOP = "for epoch in range(10):\n    {}\n"
# What is in the loop, and the line that reports it.
TOLD = {
    'print(f"epoch {epoch} loss {loss:.3f}")': "hpo.report(epoch, loss=loss)",
    'print("epoch", epoch, "val_acc", acc)': "hpo.report(epoch, val_acc=acc)",
    'print("epoch %d: train loss %.3f, val loss %.3f" % (epoch, tl, vl))':
        "hpo.report(epoch, train_loss=tl, val_loss=vl)",
    'print("Loss: {:.4f} Acc: {:.4f}".format(a, b))': "hpo.report(epoch, loss=a, acc=b)",
    'print(f"{epoch}: {val_loss}")': "hpo.report(epoch, val_loss=val_loss)",
    'print(epoch, metrics["f1"])': "hpo.report(epoch, f1=metrics['f1'])",
    'logging.info("epoch %d auc %.4f", epoch, auc)': "hpo.report(epoch, auc=auc)",
    'logger.info(f"Acc@1 {top1.avg:.3f} Acc@5 {top5.avg:.3f}")':
        'hpo.report(epoch, {"acc@1": top1.avg, "acc@5": top5.avg})',
    'wandb.log({"epoch": epoch, "val/loss": vl, "lr": lr, "picture": wandb.Image(x)})':
        'hpo.report(epoch, {"val/loss": vl})',
    'mlflow.log_metrics({"val_auc": a}, step=epoch)': "hpo.report(epoch, val_auc=a)",
    'mlflow.log_metric("val_auc", a, step=epoch)': "hpo.report(epoch, val_auc=a)",
    'writer.add_scalar("Loss/val", vl, epoch)': 'hpo.report(epoch, {"Loss/val": vl})',
    'tqdm.write(f"val_dice={dice:.3f}")': "hpo.report(epoch, val_dice=dice)",
    'print(f"epoch {epoch} [{i}/{n}] val_loss {vl:.3f} model {name} done {done} {time.time() - start:.1f}s")':
        "hpo.report(epoch, val_loss=vl)",
    'print("Accuracy: {}/{} ({:.0f}%)".format(right, len(x), 100 * right / len(x)))':
        "hpo.report(epoch, accuracy=100 * right / len(x))",
}  # fmt: skip


def script(tmp_path: Path, text: str) -> Script:
    path = tmp_path / "train.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return Script(path)


def added(tmp_path: Path, text: str) -> list[str]:
    """The lines that are put into a script, without the import."""
    given = script(tmp_path, text)
    changed = edit(given, report_changes(given, read_metrics(given)), given.path).text
    ast.parse(changed)
    before = given.text.splitlines()
    return [line.strip() for line in changed.splitlines() if line not in before and line not in ("", "import hpo")]


@pytest.mark.parametrize("told", TOLD)
def test_the_line_that_reports_what_is_told(told: str, tmp_path: Path) -> None:
    assert added(tmp_path, LOOP.format(told)) == [TOLD[told]]


def test_scalars_beside_each_other_are_one_report(tmp_path: Path) -> None:
    text = """
        for epoch in range(3):
            writer.add_scalar("loss", loss, epoch)
            writer.add_scalar("acc", acc, epoch)
    """
    assert added(tmp_path, text) == ["hpo.report(epoch, loss=loss, acc=acc)"]


@pytest.mark.parametrize(
    ("body", "indentation"),
    [
        (["if wandb:", "    wandb.log({'acc': acc})"], 4),
        (["if epoch % 10 == 0:", "    if args.verbose:", "        print(f'acc {acc:.3f}')"], 4),
        (["if use_wandb:", "    wandb.log({'acc': acc})", "else:", "    pass"], 4),
        # The metric is known on this condition alone; only one process is to report; a batch is no epoch.
        (["if epoch % 10 == 0:", "    acc = evaluate()", "    print(f'acc {acc:.3f}')"], 8),
        (["if rank == 0:", "    print(f'acc {acc:.3f}')"], 8),
        (["if wandb:", "    wandb.log({'acc': evaluate(net)})"], 8),
        (["for i, batch in enumerate(loader):", "    if i % 100 == 0:", "        print(f'acc {acc:.3f}')"], 12),
    ],
)
def test_a_report_does_not_depend_on_whether_the_script_logs(body: list[str], indentation: int, tmp_path: Path) -> None:
    given = script(tmp_path, "\n".join(["for epoch in range(3):", *(f"    {line}" for line in body), ""]))
    changed = edit(given, report_changes(given, read_metrics(given)), given.path).text
    ast.parse(changed)
    line = next(line for line in changed.splitlines() if "hpo.report(" in line)
    assert len(line) - len(line.lstrip()) == indentation


def test_epochs_count_and_batches_do_not(tmp_path: Path) -> None:
    text = """
        for epoch in range(3):
            for i, batch in enumerate(loader):
                print(f"batch {i} loss {loss:.3f}")
            print(f"val loss {val_loss:.3f}")
    """
    assert added(tmp_path, text) == ["hpo.report(epoch, val_loss=val_loss)"]


def test_a_function_that_has_no_epoch_counts_its_calls(tmp_path: Path) -> None:
    text = """
        def test(model):
            print(f"accuracy {accuracy:.3f}")

        for epoch in range(3):
            test(model)
    """
    assert added(tmp_path, text) == [
        "import itertools",
        "hpo_steps = itertools.count(1)",
        "hpo.report(next(hpo_steps), accuracy=accuracy)",
    ]


def test_a_function_that_is_given_the_epoch_uses_it(tmp_path: Path) -> None:
    text = """
        def validate(model, epoch):
            print(f"accuracy {accuracy:.3f}")
    """
    assert added(tmp_path, text) == ["hpo.report(epoch, accuracy=accuracy)"]


def test_what_is_told_once_is_no_curve(tmp_path: Path) -> None:
    given = script(tmp_path, "print('accuracy', accuracy)\n")
    assert not read_metrics(given).repeated
    assert added(tmp_path, "print('accuracy', accuracy)\n") == ["hpo.report(0, accuracy=accuracy)"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('print(json.dumps({"step": epoch, "val_loss": x}))', ("val_loss",)),
        ("hpo.report(epoch, val_loss=x)", ("val_loss",)),
        ('hpo.report(epoch, {"val/loss": x})', ("val/loss",)),
    ],
)
def test_a_script_that_reports_needs_no_lines(text: str, names: tuple[str, ...], tmp_path: Path) -> None:
    given = script(tmp_path, f"import hpo, json\n{LOOP.format(text)}")
    found = read_metrics(given)
    assert (found.kind, found.names) == ("reports", names)
    assert report_changes(given, found) == []


FITS = {
    "model.fit(x, y, epochs=3)": "model.fit(x, y, epochs=3, callbacks=[CALLBACK])",
    "model.fit(x, y, epochs=3, callbacks=[stop])": "model.fit(x, y, epochs=3, callbacks=[stop, CALLBACK])",
    "model.fit(x, y, epochs=3, callbacks=mine)": "model.fit(x, y, epochs=3, callbacks=[*(mine or []), CALLBACK])",
    "model.fit(x, y, verbose=(0))": "model.fit(x, y, verbose=(0), callbacks=[CALLBACK])",
    "model.fit()": "model.fit(callbacks=[CALLBACK])",
    "model.fit(\n    x,  # all, of\n    y,  # them,\n)":
        "model.fit(\n    x,  # all, of\n    y,  # them,\n    callbacks=[CALLBACK],\n)",
}  # fmt: skip


@pytest.mark.parametrize("fit", FITS)
def test_keras_gets_a_callback_wherever_it_fits(fit: str, tmp_path: Path) -> None:
    given = script(tmp_path, f"from tensorflow import keras\n{fit}\n")
    changed = edit(given, report_changes(given, read_metrics(given)), given.path).text
    callback = "keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: hpo.report(epoch, logs))"
    assert changed == f"from tensorflow import keras\nimport hpo\n{FITS[fit].replace('CALLBACK', callback)}\n"


def test_lightning_uses_the_hook_that_is_there(tmp_path: Path) -> None:
    text = """
        import lightning as L

        class Module(L.LightningModule):
            def validation_step(self, batch, index):
                self.log("val_acc", acc)

            def on_validation_end(self):
                print("done")

            def forward(self, x):
                return x
    """
    assert added(tmp_path, text) == [
        "if not self.trainer.sanity_checking:",
        'hpo.report(self.current_epoch, val_acc=self.trainer.callback_metrics["val_acc"])',
    ]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["train_loss", "val_loss", "val_acc"], ("val_acc", "maximize")),
        (["loss", "val_loss"], ("val_loss", "minimize")),
        (["val_accuracy", "val_auc"], ("val_auc", "maximize")),
        (["Loss/train", "Loss/val"], ("Loss/val", "minimize")),
        (["train_acc", "test_error"], ("test_error", "minimize")),
        ([], ("val_loss", "minimize")),
    ],
)
def test_the_metric_of_validation_that_says_most(names: list[str], chosen: tuple[str, str]) -> None:
    entry = choose_metric(names)
    assert (entry.name, entry.direction, entry.decide) == (*chosen, "")


def test_a_direction_that_no_name_tells_is_to_decide() -> None:
    assert choose_metric(["val_zeal"]).decide


def test_line_ends_indentation_and_the_last_line_stay(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_bytes("for epoch in range(3):\r\n\tprint('größe', 1); print('val_loss', loß)".encode())
    given = Script(path)
    changed = edit(given, report_changes(given, read_metrics(given)), given.path).text
    assert changed == (
        "import hpo\r\nfor epoch in range(3):\r\n\tprint('größe', 1); print('val_loss', loß); "
        "hpo.report(epoch, val_loss=loß)"
    )
    assert given.diff(changed, "train.py").endswith("\\ No newline at end of file\n")


TRAINERS = {
    "Trainer(model, args, compute_metrics=scores)": (
        "return {'accuracy': a, 'f1': f}",
        ("eval_accuracy", "eval_f1", "eval_loss"),
    ),
    "Trainer(model, args, compute_metrics=scores, callbacks=[stop])": (
        "found = dict(eval_wer=w)\n    return found",
        ("eval_wer", "eval_loss"),
    ),
    "Seq2SeqTrainer(\n    model=model,\n    compute_metrics=scores,\n)": (
        "return bleu.compute(predictions=p)",
        ("eval_sacrebleu", "eval_loss"),
    ),
    "Own(model)": ("pass", ("eval_loss",)),
}


@pytest.mark.parametrize("call", TRAINERS)
@pytest.mark.parametrize(("strategy", "step"), [("epoch", "round(state.epoch)"), ("steps", "state.global_step")])
def test_a_trainer_gets_a_callback_for_what_it_evaluates(call: str, strategy: str, step: str, tmp_path: Path) -> None:
    body, names = TRAINERS[call]
    text = f"""
import evaluate
from transformers import Seq2SeqTrainer, Trainer, TrainingArguments
bleu = evaluate.load("sacrebleu")
class Own(Trainer):
    pass
def scores(given):
    {body}
args = TrainingArguments("out", eval_strategy="{strategy}")
trainer = {call}
"""
    given = script(tmp_path, text)
    found = read_metrics(given)
    assert (found.kind, found.names) == ("trainer", names)
    changed = edit(given, report_changes(given, found), given.path).text
    assert "from transformers import TrainerCallback\n\n\nclass HpoReport(TrainerCallback):\n" in changed
    assert f"hpo.report({step}, " in changed
    assert "HpoReport()]" in changed.replace("[stop, ", "[")
    spec: dict[str, object] = {}
    reported = []

    class Report:
        @staticmethod
        def report(at: int, values: dict[str, float]) -> None:
            reported.append((at, values))

    lines = changed[changed.index("    def on_evaluate") : changed.index("bleu = ")]
    exec("class Here:\n" + lines, {"hpo": Report}, spec)
    state = type("State", (), {"epoch": 1.9999, "global_step": 40})
    metrics = {"eval_loss": 0.5, "eval_runtime": 2.0, "eval_steps_per_second": 3.0, "epoch": 2.0}
    spec["Here"]().on_evaluate(None, state, None, metrics=metrics, model=None)  # type: ignore[operator]
    assert reported == [(2 if strategy == "epoch" else 40, {"eval_loss": 0.5})]


def test_a_trainer_that_never_evaluates_is_to_be_decided_and_imports_of_the_package_are_used(tmp_path: Path) -> None:
    text = """
import transformers as hf
args = hf.TrainingArguments(output_dir="out", learning_rate=1e-3)
hf.Trainer(args=args).train()
"""
    scaffold = from_script(script(tmp_path, text).path)
    assert [one for one in scaffold.draft.decide if "eval_strategy" in one]
    (edit_,) = scaffold.edits
    assert "class HpoReport(hf.TrainerCallback):" in edit_.text
    assert "import TrainerCallback" not in edit_.text


def test_another_trainer_is_none_of_hugging_face(tmp_path: Path) -> None:
    given = script(tmp_path, "from lightning import Trainer\nTrainer(max_epochs=3).fit(model)\n")
    assert read_metrics(given).kind == ""
