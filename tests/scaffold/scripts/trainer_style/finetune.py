"""Train a small classifier with a Trainer: which token comes most often in a sequence?"""

import numpy as np
import torch
from transformers import Trainer, TrainingArguments, set_seed

set_seed(3)


class Sequences(torch.utils.data.Dataset):
    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.tokens = rng.integers(0, 4, size=(count, 9))
        self.labels = np.array([np.bincount(row, minlength=4).argmax() for row in self.tokens])

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"input_ids": torch.tensor(self.tokens[index]), "labels": torch.tensor(self.labels[index])}


class Bag(torch.nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.embedding = torch.nn.Embedding(4, hidden_size)
        self.head = torch.nn.Linear(hidden_size, 4)

    def forward(self, input_ids, labels=None):
        logits = self.head(torch.relu(self.embedding(input_ids).sum(1)))
        loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


def compute_metrics(evaluated):
    predictions = evaluated.predictions.argmax(-1)
    return {"accuracy": float((predictions == evaluated.label_ids).mean())}


def main():
    hidden_size = 16
    arguments = TrainingArguments(
        output_dir="checkpoints",
        learning_rate=5e-3,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=100,
        num_train_epochs=5,
        weight_decay=0.01,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=3,
    )
    trainer = Trainer(
        model=Bag(hidden_size),
        args=arguments,
        train_dataset=Sequences(400, 0),
        eval_dataset=Sequences(200, 1),
        compute_metrics=compute_metrics,
    )
    trainer.train()


if __name__ == "__main__":
    main()
