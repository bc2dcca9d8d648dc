"""A classifier in Keras, with a configuration in a dict."""
import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
from keras import layers, models, optimizers

config = {
    "learning_rate": 1e-3,
    "batch_size": 32,
    "units": 16,
    "dropout": 0.25,
    "epochs": 6,
    "patience": 3,
}

rng = np.random.default_rng(0)
x = rng.normal(size=(400, 4)).astype("float32")
y = (x.sum(axis=1) > 0).astype("float32")

model = models.Sequential([
    layers.Input((4,)),
    layers.Dense(config["units"], activation="relu"),
    layers.Dropout(config["dropout"]),
    layers.Dense(1, activation="sigmoid"),
])
model.compile(
    optimizer=optimizers.Adam(config["learning_rate"]),
    loss="binary_crossentropy",
    metrics=["accuracy"],
)
history = model.fit(
    x[:300], y[:300],
    batch_size=config["batch_size"],
    epochs=config["epochs"],
    validation_data=(x[300:], y[300:]),
    verbose=0,  # one line an epoch is enough
)
print("best", max(history.history["val_accuracy"]))
