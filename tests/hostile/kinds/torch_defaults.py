"""Leave torch with another default dtype and device, without gradients, deterministic, with anomaly detection.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect: {metrics: {val_loss: x, bits: 32, gradients: 1, cpu: 1, deterministic: 0, anomaly: 0, inference: 0}}
"""

import torch


def train(trial):
    new = torch.zeros(1)
    found = {
        "bits": torch.finfo(new.dtype).bits,
        "gradients": int(torch.is_grad_enabled()),
        "cpu": int(new.device.type == "cpu"),
        "deterministic": int(torch.are_deterministic_algorithms_enabled()),
        "anomaly": int(torch.is_anomaly_enabled()),
        "inference": int(torch.is_inference_mode_enabled()),
    }
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.autograd.set_detect_anomaly(True)
    return {"val_loss": trial.params["x"], **found}
