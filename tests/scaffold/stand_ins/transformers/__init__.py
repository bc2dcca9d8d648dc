"""The part of transformers that the script of trainer_style uses: a Trainer that evaluates after each epoch."""

import time
from types import SimpleNamespace

import torch
from torch.utils.data import DataLoader


def set_seed(seed):
    torch.manual_seed(seed)


class TrainingArguments:
    def __init__(self, output_dir, **given):
        self.output_dir = output_dir
        self.__dict__.update(given)


class TrainerCallback:
    pass


class Trainer:
    def __init__(self, model, args, train_dataset, eval_dataset, compute_metrics, callbacks=()):
        self.model, self.args, self.callbacks = model, args, callbacks
        self.data, self.held_out, self.compute_metrics = train_dataset, eval_dataset, compute_metrics
        self.state = SimpleNamespace(epoch=0.0, global_step=0)

    def train(self):
        args = self.args
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay)
        for epoch in range(args.num_train_epochs):
            for batch in DataLoader(self.data, batch_size=args.per_device_train_batch_size, shuffle=True):
                optimizer.zero_grad()
                self.model(**batch)["loss"].backward()
                optimizer.step()
                self.state.global_step += 1
            self.state.epoch = epoch + 1.0
            self.evaluate()

    def evaluate(self):
        began = time.monotonic()
        (batch,) = DataLoader(self.held_out, batch_size=len(self.held_out))
        with torch.no_grad():
            output = self.model(**batch)
        told = SimpleNamespace(predictions=output["logits"].numpy(), label_ids=batch["labels"].numpy())
        metrics = {f"eval_{name}": value for name, value in self.compute_metrics(told).items()}
        took = time.monotonic() - began
        metrics |= {"eval_loss": float(output["loss"]), "eval_runtime": took, "epoch": self.state.epoch}
        metrics |= {"eval_samples_per_second": len(self.held_out) / max(took, 1e-9)}
        for callback in self.callbacks:
            callback.on_evaluate(self.args, self.state, None, metrics=metrics)
        return metrics
