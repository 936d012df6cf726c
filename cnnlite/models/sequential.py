"""Sequential: the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnlite.models import saving
from cnnlite.models.summary import summary
from cnnlite.models.training import Training


class Sequential(Training):
    """A network of layers one after the other, with Keras's methods; `Add` and `Concatenate` are its skip connections.

    Args:
        layers: a list of layers, with an `Input` first or an input_shape in the first layer; `add` puts more on top.
        name: default: sequential, sequential_1, ...
        dtype: "float32" or "float64".
        device: None or "cpu", "cuda" or "cuda:N" for a GPU, "auto" for a GPU where there is one; `to` moves the model.
        mixed_precision: None, or "bfloat16" for faster products of rounded numbers: see the property `mixed_precision`.

    >>> import numpy as np
    >>> from cnnlite import layers, models
    >>> model = models.Sequential([layers.Input((4,)), layers.Dense(3, activation="relu"), layers.Dense(2)])
    >>> model.predict(np.zeros((5, 4), np.float32)).shape
    (5, 2)
    """

    def summary(
        self,
        line_length: int | None = None,
        positions: Any = None,
        print_fn: Callable[[str], object] | None = None,
    ) -> None:
        """Prints a table of the layers with output shapes and numbers of weights.

        Args:
            line_length, positions: kept for Keras's sake; the table is as wide as its text.
            print_fn: called with each line; default: print.
        """
        summary(self, print_fn or print)

    def save(self, filepath: Any) -> None:
        """Writes layers, weights, and the optimizer with its state to one file: see `models.load_model`.

        A crash while writing leaves an old file whole.
        """
        saving.save_model(self, filepath)

    def save_weights(self, filepath: Any) -> None:
        """Writes the weights alone."""
        saving.save_weights(self, filepath)

    def load_weights(self, filepath: Any) -> None:
        """Reads what `save_weights` or `save` wrote.

        Raises:
            ValueError: weights of other shapes; nothing is changed then.
        """
        saving.load_weights(self, filepath)

    def get_config(self) -> dict[str, Any]:
        """Name, dtype and layers, fit for JSON."""
        return saving.model_config(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sequential:
        """The model that `get_config` described, with new weights."""
        return saving.model_from_config(config)

    def __repr__(self) -> str:
        return f"<Sequential {self.name}: {', '.join(layer.name for layer in self.layers)}>"
