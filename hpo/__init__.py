"""hpo: hyperparameter optimization for networks with imbalanced data or many losses."""

from hpo.current import current_trial, report
from hpo.trial import Pruned, Trial
from hpo.worker_torch import is_out_of_memory

__version__ = "0.1.0"
__all__ = ["Pruned", "Trial", "current_trial", "is_out_of_memory", "report"]
