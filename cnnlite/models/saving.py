"""Saved models: one .npz of arrays and a JSON text, without pickle, written so that a crash leaves the old file whole."""

from __future__ import annotations

import json
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlite import layers, losses, metrics, optimizers
from cnnlite.files import atomic_write
from cnnlite.layers.layer import assign_all

if TYPE_CHECKING:
    from cnnlite.models.sequential import Sequential
    from cnnlite.models.stack import Stack

FORMAT = 1  # of the file; a reader refuses a newer one
_LAYERS = {name: getattr(layers, name) for name in layers.__all__ if name not in ("Input", "Layer")}


def model_config(model: Stack) -> dict[str, Any]:
    """A model without its weights, fit for JSON."""
    for layer in model.layers:
        if type(layer).__name__ not in _LAYERS:
            raise ValueError(
                f"{model.name}: layer {layer.name} is not one of cnnlite's and cannot be saved; use save_weights."
            )
    return {
        "name": model.name,
        "dtype": model.dtype.name,
        "mixed_precision": model.mixed_precision,
        "input_shape": None if model.input_shape is None else list(model.input_shape),
        "layers": [
            {"class_name": type(layer).__name__, "config": layer.get_config()} for layer in model.layers
        ],
    }


def model_from_config(config: dict[str, Any]) -> Sequential:
    from cnnlite.models.sequential import Sequential

    model = Sequential(name=config["name"], dtype=config["dtype"])
    model.mixed_precision = config.get("mixed_precision")  # files before it was there have none
    if config["input_shape"] is not None:
        model.add(layers.Input(config["input_shape"]))
    for saved in config["layers"]:
        if saved["class_name"] not in _LAYERS:
            raise ValueError(
                f"{model.name}: expected layers of {sorted(_LAYERS)}, got {saved['class_name']!r}; update cnnlite."
            )
        model.add(_LAYERS[saved["class_name"]].from_config(saved["config"]))
    return model


def save_model(model: Sequential, filepath: Any) -> None:
    model.build()
    header: dict[str, Any] = {"format": FORMAT, "model": model_config(model)}
    arrays = {f"weight_{i}": parameter.value for i, parameter in enumerate(model.weights)}
    optimizer = model.optimizer
    if optimizer is not None:
        header["optimizer"] = optimizers.serialize(optimizer)
        header["iterations"] = optimizer.iterations
        header["metrics"] = [metric.name for metric in model.metrics if metrics.is_named(metric)]
        header["loss"] = None if model.loss is None else _loss(model.loss)
        header["state_of"] = [
            i for i, parameter in enumerate(model.weights) if optimizer.state_of(parameter) is not None
        ]
        for i in header["state_of"]:
            for number, slot in enumerate(optimizer.state_of(model.weights[i]) or ()):
                arrays[f"state_{number}_{i}"] = slot
    _write(filepath, header, arrays)


def _loss(loss: losses.Loss) -> dict[str, Any] | None:
    """The loss for the header; None for one of the user's own, which has to be compiled again after loading."""
    try:
        return losses.serialize(loss)
    except ValueError:
        return None


def load_model(filepath: Any) -> Sequential:
    """The model that `model.save` wrote: layers, weights, and if it was compiled the optimizer with its state.

    Training goes on where it was, bit for bit. A loss or metric of the user's own is not in the file: compile again to go on with
    it. A learning rate schedule of the user's own is there as the rate it gave last.

    Raises:
        FileNotFoundError: no such file. ValueError: not a file of cnnlite's, damaged, or of a newer format.

    >>> import tempfile, pathlib
    >>> from cnnlite import layers, models
    >>> model = models.Sequential([layers.Input((4,)), layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(pathlib.Path(folder) / "model.cnnlite")
    ...     loaded = models.load_model(pathlib.Path(folder) / "model.cnnlite")
    >>> [bool((a == b).all()) for a, b in zip(model.get_weights(), loaded.get_weights())]
    [True, True]
    """
    header, arrays = _read(filepath)
    if "model" not in header:
        raise ValueError(f"load_model: {filepath} holds weights alone; make the model and call load_weights.")
    model = model_from_config(header["model"])
    model._build(None, None)  # the weights are in the file: nothing is drawn, nobody's seed is used up
    assign_all(model.weights, _weights(arrays), f"load_model: {filepath}")
    if "optimizer" in header:
        optimizer = optimizers.deserialize(header["optimizer"])
        known = [name for name in header["metrics"] if name in metrics.names()]
        model.compile(optimizer, header["loss"] and losses.deserialize(header["loss"]), known)
        parameters = [model.weights[i] for i in header["state_of"]]
        if parameters:
            optimizer.build(parameters)
            for i, parameter in zip(header["state_of"], parameters, strict=True):
                optimizer.set_state(
                    parameter, [arrays[f"state_{number}_{i}"] for number in range(len(optimizer.slots))]
                )
        optimizer.iterations = header["iterations"]
    return model


def save_weights(model: Stack, filepath: Any) -> None:
    model.build()
    paths = [parameter.path for parameter in model.weights]
    _write(
        filepath,
        {"format": FORMAT, "paths": paths},
        {f"weight_{i}": p.value for i, p in enumerate(model.weights)},
    )


def load_weights(model: Stack, filepath: Any) -> None:
    _, arrays = _read(filepath)
    model.build()
    assign_all(model.weights, _weights(arrays), f"load_weights: {filepath}")


def _write(filepath: Any, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with atomic_write(filepath) as file:
        np.savez(file, header=text, **arrays)  # type: ignore[arg-type]


def _read(filepath: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with open(filepath, "rb") as file:
        try:
            if not zipfile.is_zipfile(file):
                raise ValueError("no archive of arrays")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            header = json.loads(arrays.pop("header").tobytes())
            version = header["format"]
        except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as problem:
            raise ValueError(
                f"{filepath}: expected a file that cnnlite saved; it is something else or damaged ({problem})."
            ) from None
    if version != FORMAT:
        raise ValueError(
            f"{filepath}: expected format {FORMAT}, got {version}; a newer cnnlite may have written it."
        )
    return header, arrays


def _weights(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The weights of a file in their order."""
    return [arrays[f"weight_{i}"] for i in range(sum(name.startswith("weight_") for name in arrays))]
