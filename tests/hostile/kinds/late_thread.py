"""Leave a thread that goes on reporting after the trial's end, while the next trial runs.

---
engines: [local, ray, inline]
study: {mlflow: false}
expect:
  history: {1-3: {val_loss: 1 / step}}
  trials:
    0: {history: {1-3: {val_loss: 1 / step}}, files: {late.txt: "^(?!.*accepted)[A-Z][A-Za-z]+: .*trial"}}
    1: {history: {1-3: {val_loss: 1 / step}}, files: {late.txt: "^(?!.*accepted)[A-Z][A-Za-z]+: .*trial"}}
"""

import threading
import time

ENDED = {}


def train(trial):
    def watch():
        ENDED[trial.number].wait()
        while trial.number < 2:
            # The next trial has begun when it has set this.
            if trial.number + 1 in ENDED:
                with (trial.directory / "late.txt").open("w") as file:
                    try:
                        trial.report(101, gpu=0.5)
                    except Exception as error:
                        file.write(f"{type(error).__name__}: {error}")
                    else:
                        file.write("accepted")
                return
            time.sleep(0.005)

    ENDED[trial.number] = threading.Event()
    threading.Thread(target=watch, daemon=True).start()
    if trial.number > 0:
        # It has reported by now, or it hangs.
        late = trial.directory.parent / str(trial.number - 1) / "late.txt"
        until = time.monotonic() + 20
        while time.monotonic() < until and not (late.exists() and late.read_text()):
            time.sleep(0.005)
    for epoch in range(1, 4):
        trial.report(epoch, val_loss=1 / epoch)
    ENDED[trial.number].set()
    return {"val_loss": trial.params["x"]}
