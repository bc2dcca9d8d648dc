"""Gradient descent on a quadratic, configured by Hydra."""
import logging

import hydra
from omegaconf import DictConfig

log = logging.getLogger(__name__)


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    x, speed = 4.0, 0.0
    best = float("inf")
    for epoch in range(cfg.trainer.max_epochs):
        slope = 2 * x + cfg.optimizer.weight_decay * x
        if cfg.optimizer.name == "sgd":
            speed = cfg.optimizer.momentum * speed + slope
            x -= cfg.optimizer.lr * speed
        else:
            x -= cfg.optimizer.lr * (1 if slope > 0 else -1)
        val_loss = x * x / cfg.model.hidden_size
        best = min(best, val_loss)
        log.info(f"epoch={epoch} val/loss={val_loss:.5f} best={best:.5f}")
    return best


if __name__ == "__main__":
    main()
