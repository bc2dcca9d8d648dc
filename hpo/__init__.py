"""hpo: hyperparameter optimization for networks with imbalanced data or many losses."""

from hpo.trial import Pruned, Trial
from hpo.worker.current_trial import current_trial, report
from hpo.worker.torch_runtime import is_out_of_memory

__version__ = "0.1.0"
__all__ = ["Pruned", "Trial", "current_trial", "is_out_of_memory", "report"]
