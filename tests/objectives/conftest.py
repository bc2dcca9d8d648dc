"""One thread: small networks gain nothing from a second one, and wait for it when the machine is busy."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
