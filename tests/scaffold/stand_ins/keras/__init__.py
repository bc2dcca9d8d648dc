"""The part of Keras that the script of keras_style uses: one trainable layer, fit with callbacks, and its history."""
