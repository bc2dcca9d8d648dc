"""hpo: hyperparameter optimization for networks with imbalanced data or many losses."""

from hpo.current import current_trial, report
from hpo.trial import Pruned, Trial

__version__ = "0.1.0"
__all__ = ["Pruned", "Trial", "current_trial", "report"]
