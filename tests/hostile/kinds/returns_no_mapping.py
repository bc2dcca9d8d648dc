"""Return what is no dict: nothing, a number, a tuple, a class, a generator, a coroutine, an object without words.

---
engines: [local, ray, inline]
study: {budget: {trials: 7}}
expect: {exit: 1, state: FAIL, cause: invalid, reason: returned}
"""


class Mute:
    def __repr__(self):
        raise RuntimeError("no words")


async def late():
    return {"val_loss": 0.5}


def train(trial):
    return (
        lambda: None,
        lambda: 0.5,
        lambda: ({"val_loss": 0.5},),
        lambda: dict,
        lambda: (name for name in ("val_loss",)),
        late,
        Mute,
    )[trial.number]()
