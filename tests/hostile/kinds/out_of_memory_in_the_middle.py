"""Run out of memory below other errors: as a cause, in a group of errors, and after an error of another kind.

---
engines: [local, inline]
study: {budget: {trials: 3}, mlflow: false}
expect:
  exit: 1
  trials:
    0: {state: PRUNED, cause: out_of_memory, constraints: [out_of_memory], or: [{state: FAIL, cause: exception}]}
    1: {state: PRUNED, cause: out_of_memory, constraints: [out_of_memory], or: [{state: FAIL, cause: exception}]}
    2: {state: FAIL, cause: exception, reason: the labels}
"""


def train(trial):
    if trial.number == 1:
        raise ExceptionGroup("of a pool", [MemoryError("cannot hold it")])
    try:
        raise MemoryError("cannot hold it")
    except MemoryError as error:
        if trial.number == 0:
            raise RuntimeError("training failed") from error
    raise ValueError("the labels say: out of memory is not what happened here, the labels are wrong")
