"""Saved models: one file without pickle that goes on as if never stopped, and files that are something else."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest

import cnnlite
from cnnlite import layers, losses, models, optimizers, regularizers
from cnnlite.models import saving

pytestmark = pytest.mark.usefixtures("seeded")


def data(model: models.Sequential, n: int = 24) -> tuple[np.ndarray, np.ndarray]:
    return networks.samples(model, n), np.arange(n) % 3


def optimizers_to_try() -> dict[str, Callable[[], optimizers.Optimizer]]:
    decay = optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    return {
        "sgd": lambda: optimizers.SGD(0.1),
        "momentum": lambda: optimizers.SGD(decay, momentum=0.9, nesterov=True, clipnorm=1.0),
        "adam": lambda: optimizers.Adam(0.01, beta_1=0.8, weight_decay=0.01),
        "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True, global_clipnorm=1.0),
    }


@pytest.mark.parametrize("name", optimizers_to_try())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_three_steps_saved_and_three_more_are_six(tmp_path: Path, name: str, dtype: str) -> None:
    """Bit for bit, dropout's masks and the order of batches too, where the seed is set: they come from the process's generator,
    which loading a model does not touch."""
    model = networks.with_dropout(dtype=dtype)
    model.compile(optimizers_to_try()[name](), losses.SparseCategoricalCrossentropy(), ["accuracy"])
    x, y = data(model)
    model.fit(x, y, batch_size=8, verbose=0)
    model.save(tmp_path / "model")
    cnnlite.set_random_seed(9)
    model.fit(x, y, batch_size=8, verbose=0)
    cnnlite.set_random_seed(9)
    loaded = models.load_model(tmp_path / "model")
    assert loaded.optimizer.iterations == 3
    loaded.fit(x, y, batch_size=8, verbose=0)
    assert networks.same(loaded.get_weights(), model.get_weights())
    assert loaded.optimizer.iterations == model.optimizer.iterations == 6
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


@pytest.mark.parametrize("name", networks.paths())
def test_every_layer_comes_back(tmp_path: Path, name: str) -> None:
    model = networks.path(name)
    x = networks.samples(model, 5)
    wanted = model.predict(x)
    model.save(tmp_path / "model")
    loaded = models.load_model(tmp_path / "model")
    assert np.array_equal(loaded.predict(x), wanted)
    assert loaded.get_config() == model.get_config()
    assert loaded.optimizer is None


def test_names_frozen_layers_and_states_of_frozen_layers(tmp_path: Path) -> None:
    model = networks.small(name="net")
    model.compile(optimizers.SGD(0.1, momentum=0.9), "mse")
    x, y = networks.samples(model, 8), np.ones((8, 3))
    model.train_on_batch(x, y)
    model.layers[0].trainable = False
    model.train_on_batch(x, y)
    model.save(tmp_path / "model")
    loaded = models.load_model(tmp_path / "model")
    assert loaded.name == "net"
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert [layer.trainable for layer in loaded.layers] == [False, True]
    for one in (model, loaded):
        one.layers[0].trainable = True
        one.train_on_batch(x, y)
    assert networks.same(loaded.get_weights(), model.get_weights())


def test_what_is_the_users_own(tmp_path: Path) -> None:
    """Functions are not in the file: initializers are not needed, penalties are numbers, a schedule is the rate it gave last; a
    loss or metric has to be compiled again."""

    class Mine(regularizers.Regularizer):
        def __init__(self) -> None:
            super().__init__(0.0, 0.25)

    def own_loss(y_true: np.ndarray, y_pred: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (y_pred - y_true).mean(axis=-1), np.full_like(y_pred, 1 / 3)

    dense = layers.Dense(
        3, kernel_initializer=lambda shape, dtype: np.ones(shape, dtype), kernel_regularizer=Mine()
    )
    model = models.Sequential([layers.Input((6,)), dense])
    model.compile(
        optimizers.Adam(lambda step: 0.5 / (1 + step)), own_loss, ["accuracy", lambda y_true, y_pred: 1.0]
    )
    x, y = networks.samples(model, 8), np.zeros((8, 3))
    model.train_on_batch(x, y)
    model.save(tmp_path / "model")
    loaded = models.load_model(tmp_path / "model")
    assert networks.same(loaded.get_weights(), model.get_weights())
    assert loaded.optimizer.learning_rate == 0.25
    assert loaded.layers[0].kernel_regularizer.l2 == 0.25
    assert loaded.metrics_names == ["loss", "accuracy"]
    with pytest.raises(RuntimeError, match="fit: expected a loss, got none"):
        loaded.fit(x, y)
    loaded.compile(loaded.optimizer, own_loss)
    assert loaded.optimizer.iterations == 1
    loaded.fit(x, y, verbose=0)


def test_the_file_is_an_archive_of_arrays_and_a_text(tmp_path: Path) -> None:
    model = networks.small()
    model.compile("adam", "mse")
    model.train_on_batch(networks.samples(model, 4), np.ones((4, 3)))
    model.save(tmp_path / "model.anything")
    assert [path.name for path in tmp_path.iterdir()] == ["model.anything"]
    with np.load(tmp_path / "model.anything", allow_pickle=False) as file:
        assert {array.dtype.kind for array in file.values()} <= {"u", "f"}
        header = json.loads(file["header"].tobytes())
    assert header["format"] == saving.FORMAT
    assert header["optimizer"]["class_name"] == "adam"


def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    model = networks.small()
    model.save(path)
    old = path.read_bytes()

    def full(file: Any, **arrays: Any) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.np, "savez", full)
    for write in (model.save, model.save_weights):
        with pytest.raises(OSError, match="No space left"):
            write(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_weights_alone(tmp_path: Path) -> None:
    model, other = networks.documented(), networks.documented()
    model.save_weights(tmp_path / "weights")
    other.load_weights(tmp_path / "weights")
    assert networks.same(other.get_weights(), model.get_weights())
    model.save(tmp_path / "model")
    third = networks.documented()
    third.load_weights(tmp_path / "model")
    assert networks.same(third.get_weights(), model.get_weights())
    small = networks.small()
    before = small.get_weights()
    message = r"load_weights: .*weights: set_weights expected .*kernel of shape \(6, 5\), got \(3, 3, 1, 32\)"
    with pytest.raises(ValueError, match=message):
        small.load_weights(tmp_path / "weights")
    assert networks.same(small.get_weights(), before)
    with pytest.raises(ValueError, match="weights holds weights alone; make the model and call load_weights"):
        models.load_model(tmp_path / "weights")


def spoiled() -> dict[str, Callable[[Path], object]]:
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 0xFF
        path.write_bytes(content)

    def array(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, np.zeros(3))

    def archive(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, a=np.zeros(3))

    def foreign(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("letter.txt", "hello")

    return {
        "empty": lambda path: path.write_bytes(b""),
        "text": lambda path: path.write_text("hello"),
        "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        "one byte": flip,
        "npy": array,
        "npz": archive,
        "zip": foreign,
    }


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], object]) -> None:
    """Changes what a saved file holds."""
    header, arrays = saving._read(path)
    change(header, arrays)
    saving._write(path, header, arrays)


@pytest.mark.parametrize("how", spoiled())
def test_files_that_are_something_else(tmp_path: Path, how: str) -> None:
    path = tmp_path / "model"
    networks.small().save(path)
    spoiled()[how](path)
    for read in (models.load_model, networks.small().load_weights):
        with pytest.raises(
            ValueError, match="model: expected a file that cnnlite saved; it is something else or damaged"
        ):
            read(path)


def test_files_of_other_versions_and_without_some_weights(tmp_path: Path) -> None:
    path = tmp_path / "model"
    model = networks.small(name="net")
    model.save(path)
    rewrite(path, lambda header, arrays: arrays.pop("weight_3"))
    with pytest.raises(ValueError, match=r"load_model: .*model: set_weights expected 4 arrays, got 3"):
        models.load_model(path)
    model.save(path)
    rewrite(path, lambda header, arrays: header["model"]["layers"][0].update(class_name="Attention"))
    with pytest.raises(ValueError, match=r"net: expected layers of .*, got 'Attention'; update cnnlite"):
        models.load_model(path)
    model.save(path)
    rewrite(path, lambda header, arrays: header.update(format=2))
    with pytest.raises(ValueError, match="expected format 1, got 2; a newer cnnlite may have written it"):
        models.load_model(path)


def test_paths_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        models.load_model(tmp_path / "missing")
    with pytest.raises(FileNotFoundError):
        networks.small().save(tmp_path / "no folder" / "model")


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    class Mine(layers.Flatten):
        pass

    class Own(optimizers.SGD):
        pass

    model = models.Sequential([layers.Input((2, 2)), Mine(name="mine")])
    with pytest.raises(
        ValueError, match="layer mine is not one of cnnlite's and cannot be saved; use save_weights"
    ):
        model.save(tmp_path / "model")
    model = networks.small()
    model.compile(Own(), "mse")
    with pytest.raises(ValueError, match="own is not one of cnnlite's and cannot be saved; use save_weights"):
        model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="has no layers; add some"):
        models.Sequential().save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_model_with_an_input_shape_by_data(tmp_path: Path) -> None:
    model = models.Sequential([layers.Dense(2)])
    model.predict(np.zeros((1, 5)))
    model.save(tmp_path / "model")
    assert models.load_model(tmp_path / "model").input_shape == (5,)
