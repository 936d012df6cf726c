"""A new process that imports the library, builds the documented network and trains it for one step.

The driver measures it from the outside, with an empty and with a filled kernel cache; it prints when the step
was done, in seconds since the epoch, so that taking the process down is not counted.
"""

from __future__ import annotations

import time

import numpy as np

from cnnlite import layers, models


def main() -> None:
    """One step of 32 images."""
    model = models.Sequential()
    model.add(layers.Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.MaxPooling2D((2, 2)))
    model.add(layers.Conv2D(64, (3, 3), activation="relu"))
    model.add(layers.Flatten())
    model.add(layers.Dense(64, activation="relu"))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(0)
    images = rng.random((32, 28, 28, 1), dtype=np.float32)
    model.fit(images, rng.integers(0, 10, 32), epochs=1, verbose=0)
    print(time.time())


if __name__ == "__main__":
    main()
