"""The reader's `model.py` of the page on frameworks, for Keras."""

import keras
import numpy as np


def build(width):
    layers = [keras.layers.Input((8,)), keras.layers.Dense(width, "relu"), keras.layers.Dense(1, "sigmoid")]
    return keras.Sequential(layers)


def data():
    x = np.random.default_rng(0).normal(size=(400, 8))
    y = (x[:, 0] > 1).astype(float)
    return x[:300], y[:300], (x[300:], y[300:])
