"""A regression as a LightningModule."""

from argparse import ArgumentParser

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Regressor(L.LightningModule):
    def __init__(self, hidden_dim: int, learning_rate: float, dropout: float):
        super().__init__()
        self.learning_rate = learning_rate
        self.net = nn.Sequential(nn.Linear(2, hidden_dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_dim, 1))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.mse_loss(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        prediction = self.net(x)
        self.log("val_loss", nn.functional.mse_loss(prediction, y), prog_bar=True)
        self.log_dict({"val/mae": (prediction - y).abs().mean()})

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.learning_rate)


def loader(n, seed, **options):
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), **options)


if __name__ == "__main__":
    parser = ArgumentParser()
    parser.add_argument("--hidden_dim", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_epochs", type=int, default=5)
    parser.add_argument("--precision", default="32-true")
    hparams = parser.parse_args()
    module = Regressor(hparams.hidden_dim, hparams.learning_rate, hparams.dropout)
    trainer = L.Trainer(
        max_epochs=hparams.max_epochs, precision=hparams.precision, logger=False, enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(
        module, loader(256, 0, batch_size=hparams.batch_size, shuffle=True), loader(128, 1, batch_size=64)
    )
