"""Callbacks in real training, and Ctrl-C."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
from small_training import compiled, data

from cnnlite import callbacks, models, optimizers

pytestmark = pytest.mark.usefixtures("seeded")


def test_early_stopping_restores_the_best_weights() -> None:
    x, y = data()
    model = compiled(optimizer=optimizers.SGD(0.5))
    best: dict[int, list[np.ndarray]] = {}
    keep = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: best.__setitem__(epoch, model.get_weights())
    )
    stop = callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True)
    history = model.fit(
        x, y, epochs=60, validation_data=(x, 2 - y), verbose=0, callbacks=[keep, stop]
    )  # it gets worse soon
    values = history.history["val_loss"]
    assert len(values) == stop.stopped_epoch + 1 < 60
    assert stop.best_epoch == int(np.argmin(values))
    assert networks.same(model.get_weights(), best[stop.best_epoch])


def test_checkpoints_of_every_epoch_and_of_the_best(tmp_path: Path) -> None:
    x, y = data()
    model = compiled(optimizer="adam")
    every = callbacks.ModelCheckpoint(tmp_path / "{epoch:02d}.cnnlite")
    weights = callbacks.ModelCheckpoint(
        tmp_path / "best.weights", monitor="loss", save_best_only=True, save_weights_only=True
    )
    model.fit(x, y, epochs=3, verbose=0, callbacks=[every, weights])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "01.cnnlite",
        "02.cnnlite",
        "03.cnnlite",
        "best.weights",
    ]
    assert networks.same(models.load_model(tmp_path / "03.cnnlite").get_weights(), model.get_weights())
    other = networks.small()
    other.load_weights(tmp_path / "best.weights")
    assert networks.same(other.get_weights(), model.get_weights())


def test_learning_rates_during_training(tmp_path: Path) -> None:
    x, y = data()
    model = compiled(optimizer=optimizers.SGD(0.1))
    seen: list[float] = []
    watch = callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: seen.append(model.optimizer.learning_rate)
    )
    scheduler = callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    log = callbacks.CSVLogger(tmp_path / "log.csv")
    history = model.fit(x, y, epochs=3, verbose=0, callbacks=[scheduler, watch, log])
    assert seen == [0.05] * 2 + [0.025] * 2 + [0.0125] * 2
    assert history.history["learning_rate"] == [0.05, 0.025, 0.0125]
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in rows] == pytest.approx(history.history["loss"])
    plateau = callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1, min_delta=10)
    model.fit(x, y, epochs=3, verbose=0, callbacks=[plateau])
    assert model.optimizer.learning_rate == 0.0125 / 4


def test_a_learning_rate_set_by_hand_holds_at_once() -> None:
    x, y = data()
    model = compiled()
    model.optimizer.learning_rate = 0.0
    before = model.get_weights()
    model.train_on_batch(x, y)
    assert networks.same(model.get_weights(), before)
    model.optimizer.learning_rate = np.float32(0.5)
    model.train_on_batch(x, y)
    assert not networks.same(model.get_weights(), before)


def test_stopping_within_an_epoch_and_the_logs_of_the_end() -> None:
    x, y = data()
    model = compiled()
    ends: list[Any] = []

    def stop(batch: int, logs: Any) -> None:
        model.stop_training = batch == 1

    history = model.fit(
        x, y, batch_size=10, epochs=9, verbose=0,
        callbacks=[callbacks.LambdaCallback(on_train_batch_end=stop, on_train_end=ends.append)],
    )  # fmt: skip
    assert model.optimizer.iterations == 2
    assert history.epoch == [0]
    assert ends[0]["loss"] == history.history["loss"][0]
    assert len(model.fit(x, y, epochs=2, verbose=0).epoch) == 2  # the flag is for one call


def test_terminate_on_nan() -> None:
    x, y = data()
    x[17] = np.nan
    model = compiled()
    history = model.fit(
        x, y, batch_size=10, epochs=5, shuffle=False, verbose=0, callbacks=callbacks.TerminateOnNaN()
    )
    assert len(history.epoch) == 1
    assert np.isnan(history.history["loss"][0])


# Ctrl-C


def test_an_interrupt_leaves_a_usable_model() -> None:
    x, y = data()
    model = compiled(optimizer="adam")

    def interrupt(batch: int, logs: Any) -> None:
        if batch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(
            x,
            y,
            batch_size=10,
            shuffle=False,
            verbose=0,
            callbacks=[callbacks.LambdaCallback(on_train_batch_end=interrupt)],
        )
    assert model.optimizer.iterations == 3
    other = compiled(optimizer="adam")
    other.fit(x[:30], y[:30], batch_size=10, shuffle=False, verbose=0)
    assert networks.same(model.get_weights(), other.get_weights())
    model.fit(x, y, verbose=0)
    assert np.isfinite(model.predict(x)).all()


PROGRAM = """
import signal
import networks
import numpy as np
from cnnlite import callbacks
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored
model = networks.documented()
model.compile("sgd", "sparse_categorical_crossentropy")
x, y = np.zeros((256, 28, 28, 1), np.float32), np.zeros(256)
ready = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: print("ready", flush=True) if epoch == 1 else None)
try:
    model.fit(x, y, epochs=10**6, verbose=0, callbacks=[ready])
except KeyboardInterrupt:
    steps = model.optimizer.iterations
    model.fit(x, y, verbose=0)
    print("stopped", steps > 8, model.optimizer.iterations == steps + 8, np.isfinite(model.predict(x)).all())
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_in_a_process(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(PROGRAM))
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent, here.parent / "kernels"))),
    }
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert rest == "stopped True True True\n"
    assert process.returncode == 0
