"""Digits by small convolutional networks: architecture, learning rate and batch size, every cell."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from benchmarks.search.trainings.digits_mlp import SAMPLES, data
from benchmarks.search.trainings.networks import batches, optimizer_of, schedule_epochs, step, training_work
from benchmarks.search.trainings.training import Curve, Params, Training

EPOCHS = 20
# Of one image: convolutions at 8x8 and 4x4, and the last layer.
OPERATIONS = {
    "plain": 64 * 9 * 6 + 16 * 9 * 6 * 12 + 480,
    "strided": 16 * 9 * 8 + 1280,
    "residual": 16 * 9 * 264 + 1280,
}


class Plain(nn.Sequential):
    def __init__(self) -> None:
        first = [nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        second = [nn.Conv2d(6, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        super().__init__(*first, *second, nn.Flatten(), nn.Linear(48, 10))


class Strided(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
            for _ in range(2)
        )
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = relu(x + block(x))
        found: Tensor = self.head(x.flatten(1))
        return found


ARCHITECTURES: dict[str, type[nn.Module]] = {"plain": Plain, "strided": Strided, "residual": Residual}


def run(params: Params, seed: int) -> Curve:
    torch.manual_seed(seed)
    x, y, val_x, val_y = data()
    images, val_images = x.view(-1, 1, 8, 8), val_x.view(-1, 1, 8, 8)
    model = ARCHITECTURES[params["architecture"]]()
    optimizer = optimizer_of(model, {**params, "optimizer": "sgd", "momentum": 0.9})
    for _ in schedule_epochs(optimizer, params, EPOCHS):
        model.train()
        for batch in batches(SAMPLES, params["batch_size"]):
            step(optimizer, cross_entropy(model(images[batch]), y[batch]))
        model.eval()
        with torch.no_grad():
            scores = model(val_images)
        if not scores.isfinite().all():
            return
        yield (float((scores.argmax(1) == val_y).float().mean()),)


TRAINING = Training(
    data="the digits of `digits_mlp`",
    model="convolutional network, one of three",
    space={
        "architecture": {"choices": ["plain", "strided", "residual"], "structural": True},
        "learning_rate": {"choices": [1e-3, 1e-2, 5e-2, 2e-1]},
        "batch_size": {"choices": [8, 16, 64]},
    },
    epochs=EPOCHS,
    metric="val_accuracy",
    direction="maximize",
    repeats=3,
    run=run,
    work=lambda params: training_work(SAMPLES, params["batch_size"], OPERATIONS[params["architecture"]]),
)
