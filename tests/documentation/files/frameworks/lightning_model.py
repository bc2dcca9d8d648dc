"""The reader's `model.py` of the page on frameworks, for Lightning."""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Classifier(lightning.LightningModule):
    def __init__(self, learning_rate, width):
        super().__init__()
        self.learning_rate = learning_rate
        self.network = nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 1), nn.Flatten(0))

    def loss(self, batch):
        return nn.functional.binary_cross_entropy_with_logits(self.network(batch[0]), batch[1])

    def training_step(self, batch, index):
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.learning_rate)


class Data(lightning.LightningDataModule):
    def setup(self, stage=None):
        x = torch.randn(400, 8, generator=torch.Generator().manual_seed(0))
        self.samples = TensorDataset(x, (x[:, 0] > 1).float())

    def train_dataloader(self):
        return DataLoader(self.samples, 32)

    def val_dataloader(self):
        return DataLoader(self.samples, 100)
