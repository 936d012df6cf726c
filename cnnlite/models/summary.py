"""The table that `model.summary()` prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnlite.models.stack import Stack

HEADERS = ("Layer (type)", "Output Shape", "Param #")


def summary(model: Stack, write: Callable[[str], object] = print) -> None:
    """Writes the layers with output shapes and numbers of weights, line by line."""
    model.build()
    rows = [
        (
            f"{layer.name} ({type(layer).__name__})"
            + ("" if layer.trainable or not layer.parameters else ", frozen"),
            str((None, *layer.output_shape)),  # type: ignore[misc]
            f"{layer.count_params():,}",
        )
        for layer in model.layers
    ]
    widths = [max(len(row[i]) for row in [HEADERS, *rows]) for i in range(3)]
    lines = ["┌" + "┬".join("─" * (w + 2) for w in widths) + "┐"]
    for number, row in enumerate([HEADERS, *rows]):
        cells = [f"{row[0]:<{widths[0]}}", f"{row[1]:<{widths[1]}}", f"{row[2]:>{widths[2]}}"]
        lines.append("│ " + " │ ".join(cells) + " │")
        if number == 0:
            lines.append("├" + "┼".join("─" * (w + 2) for w in widths) + "┤")
    lines.append("└" + "┴".join("─" * (w + 2) for w in widths) + "┘")
    total = model.count_params()
    trainable = sum(parameter.size for parameter in model.trainable_weights)
    write(f'Model: "{model.name}"')
    for line in lines:
        write(line)
    write(f"Total params: {total:,} ({_bytes(total * model.dtype.itemsize)})")
    write(f"Trainable params: {trainable:,} ({_bytes(trainable * model.dtype.itemsize)})")
    write(
        f"Non-trainable params: {total - trainable:,} ({_bytes((total - trainable) * model.dtype.itemsize)})"
    )
    if model.mixed_precision is not None:
        write(f"Mixed precision: products of {model.mixed_precision}, weights and sums of {model.dtype}")


def _bytes(count: float) -> str:
    """
    >>> _bytes(373288), _bytes(12)
    ('364.54 KB', '12.00 B')
    """
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.2f} {unit}"
        count /= 1024
    return f"{count:.2f} GB"
