"""The table that `model.summary()` prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cnnlite.engine.stages import INPUT

if TYPE_CHECKING:
    from cnnlite.models.stack import Stack

HEADERS = ("Layer (type)", "Output Shape", "Param #", "Connected to")


def summary(model: Stack, write: Callable[[str], object] = print) -> None:
    """Writes the layers with output shapes and numbers of weights, line by line, and what each reads if some join others."""
    model.build()
    before = [INPUT, *(layer.name for layer in model.layers)]
    rows = [
        (
            f"{layer.name} ({type(layer).__name__})"
            + ("" if layer.trainable or not layer.parameters else ", frozen"),
            str((None, *layer.output_shape)),  # type: ignore[misc]
            f"{layer.count_params():,}",
            ", ".join([before[number], *layer.sources]),
        )
        for number, layer in enumerate(model.layers)
    ]
    columns = 4 if any(layer.sources for layer in model.layers) else 3
    widths = [max(len(row[i]) for row in [HEADERS, *rows]) for i in range(columns)]
    lines = ["┌" + "┬".join("─" * (w + 2) for w in widths) + "┐"]
    for number, row in enumerate([HEADERS, *rows]):
        cells = [
            f"{cell:{'>' if i == 2 else '<'}{w}}"
            for i, (cell, w) in enumerate(zip(row, widths, strict=False))
        ]
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
