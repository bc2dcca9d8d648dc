"""Start a run of MLflow's in the objective and never end it; log to a store of its own.

---
engines: [local, ray]
study: {budget: {trials: 2}}
expect: {metrics: {val_loss: x, own_runs: number}, history: {1: {val_loss: 1.0}}}
"""

import mlflow


def train(trial):
    mlflow.set_tracking_uri(f"sqlite:///{trial.root}/own.db")
    mlflow.set_experiment("own")
    earlier = len(mlflow.search_runs(output_format="list"))
    mlflow.start_run(run_name=str(trial.number))
    mlflow.log_param("x", trial.params["x"])
    trial.report(1, val_loss=1.0)
    return {"val_loss": trial.params["x"], "own_runs": earlier}
