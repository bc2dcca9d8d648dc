"""End a command for want of memory, as its last lines say, and by an error that only mentions memory.

---
engines: [local]
study: {command: [python, objective.py, "{number}"], budget: {trials: 5}, mlflow: false}
expect:
  exit: 1
  state: PRUNED
  cause: out_of_memory
  constraints: [out_of_memory]
  trials:
    4: {state: FAIL, cause: exception, reason: code 1}
"""

import sys

END = 'Traceback (most recent call last):\n  File "train.py", line 9, in <module>\n'
SAID = (
    f"{END}torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    f"{END}RuntimeError: CUDA error: out of memory",
    f"{END}MemoryError",
    f"{END}jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.",
    f"{END}ValueError: the flag --retry-when-out-of-memory takes no value",
)
number = int(sys.argv[1])
if number == 4:
    print("epoch 1: a guard against CUDA out of memory is active")
print(SAID[number], file=sys.stderr)
sys.exit(1)
