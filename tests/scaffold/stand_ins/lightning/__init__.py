"""The part of Lightning that the script of lightning_style uses: a loop that calls a module's steps and hooks."""

import torch


class LightningModule(torch.nn.Module):
    def log(self, name, value, **_):
        self.trainer.logged.setdefault(name, []).append(float(value.detach()))

    def log_dict(self, values, **_):
        for name, value in values.items():
            self.log(name, value)

    @property
    def current_epoch(self):
        return self.trainer.current_epoch

    def on_validation_end(self):
        pass


class Trainer:
    def __init__(self, max_epochs, precision, logger, enable_checkpointing, enable_progress_bar):
        self.max_epochs = max_epochs
        self.current_epoch = 0
        self.callback_metrics = {}
        self.logged = {}

    def fit(self, module, train, val):
        module.trainer = self
        optimizer = module.configure_optimizers()
        self.sanity_checking = True
        self._validate(module, val)
        self.sanity_checking = False
        for epoch in range(self.max_epochs):
            self.current_epoch = epoch
            module.train()
            for index, batch in enumerate(train):
                loss = module.training_step(batch, index)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            self._validate(module, val)

    @torch.no_grad()
    def _validate(self, module, loader):
        module.eval()
        for index, batch in enumerate(loader):
            module.validation_step(batch, index)
        self.callback_metrics |= {name: torch.tensor(values).mean() for name, values in self.logged.items()}
        self.logged.clear()
        module.on_validation_end()
