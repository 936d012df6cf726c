"""Callbacks: Keras's behaviour epoch by epoch, on a model that does nothing but keep what it is given."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from cnnlite.callbacks import (
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)

HOOKS = [name for name in vars(Callback) if name.startswith("on_")]
BATCH_HOOKS = {name for name in HOOKS if "batch" in name}


class Model:
    """Its weights are the number of the epoch it is in; what it saves, it lists."""

    def __init__(self, learning_rate=0.1):
        self.stop_training = False
        self.optimizer = SimpleNamespace(learning_rate=learning_rate)
        self.weights = [np.array([-1.0])]
        self.saved = []

    def get_weights(self):
        return [w.copy() for w in self.weights]

    def set_weights(self, weights):
        self.weights = weights

    def save(self, path):
        self.saved.append(("model", str(path)))

    def save_weights(self, path):
        self.saved.append(("weights", str(path)))


def train(callbacks, epochs, model=None, batches=0, first=0) -> tuple[Model, CallbackList, list[str]]:
    """Run ``callbacks`` as fit does, over logs of each epoch; return what they printed as the last item."""
    model = model or Model()
    model.stop_training = False
    printed: list[str] = []
    hooks = CallbackList(callbacks, model, {"epochs": len(epochs)}, add_history=True, say=printed.append)
    hooks.on_train_begin()
    for epoch, logs in enumerate(epochs, first):
        hooks.on_epoch_begin(epoch)
        model.weights = [np.array([float(epoch)])]
        for batch in range(batches):
            hooks.on_train_batch_begin(batch)
            hooks.on_train_batch_end(batch, dict(logs))
        hooks.on_epoch_end(epoch, dict(logs))
        if model.stop_training:
            break
    hooks.on_train_end()
    return model, hooks, printed


def losses(*values, name="val_loss"):
    return [{name: value} for value in values]


# Callback and CallbackList


def test_every_hook_is_fanned_out_in_order():
    calls = []

    def recorder(number):
        hooks = {name: lambda *args, name=name: calls.append((number, name, args)) for name in HOOKS}
        return type("Recorder", (Callback,), {name: staticmethod(hook) for name, hook in hooks.items()})()

    hooks = CallbackList([recorder(1), recorder(2)])
    for name in HOOKS:
        if name in ("on_batch_begin", "on_batch_end"):
            continue
        calls.clear()
        numbered = "epoch" in name or "batch" in name
        arguments = (7, {"loss": 1.0}) if numbered else ({"loss": 1.0},)
        getattr(hooks, name)(*arguments)
        assert calls == [(1, name, arguments), (2, name, arguments)]


def test_the_base_class_does_nothing():
    for name in HOOKS:
        getattr(Callback(), name)(*((0,) if "epoch" in name or "batch" in name else ()))


def test_callbacks_get_model_params_and_a_way_to_print():
    callback = Callback()
    model, printed = Model(), []
    CallbackList([callback], model, {"epochs": 3}, say=printed.append)
    assert callback.model is model
    assert callback.params == {"epochs": 3}
    callback.say("hello")
    assert printed == ["hello"]


def test_a_callback_that_does_not_call_init_works():
    class Careless(Callback):
        def __init__(self):
            self.seen = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append((epoch, self.params["epochs"]))

    careless = Careless()
    train([careless], losses(1, 2))
    assert careless.seen == [(0, 2), (1, 2)]


@pytest.mark.parametrize("name", sorted(BATCH_HOOKS))
def test_batch_hooks_are_seen(name):
    def used(callback):
        hooks = CallbackList([callback])
        return [hooks.uses_batch_hooks, hooks.uses_test_batch_hooks, hooks.uses_predict_batch_hooks]

    expected = [all(phase not in name for phase in ("test", "predict")), "test" in name, "predict" in name]
    assert used(type("Batches", (Callback,), {name: lambda self, batch, logs=None: None})()) == expected
    assert used(LambdaCallback(**{name: lambda batch, logs: None})) == expected


def test_batch_hooks_are_not_seen_where_there_are_none():
    callbacks = [History(), EarlyStopping(), ModelCheckpoint("m"), CSVLogger("l"), LambdaCallback()]
    hooks = CallbackList(callbacks)
    assert not any([hooks.uses_batch_hooks, hooks.uses_test_batch_hooks, hooks.uses_predict_batch_hooks])
    assert CallbackList([ModelCheckpoint("m", save_freq=2)]).uses_batch_hooks
    assert CallbackList([TerminateOnNaN()]).uses_batch_hooks


def test_the_older_names_of_batch_hooks_are_called():
    calls = []

    class Older(Callback):
        def on_batch_begin(self, batch, logs=None):
            calls.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            calls.append(("end", batch))

    train([Older()], losses(1), batches=2)
    assert calls == [("begin", 0), ("end", 0), ("begin", 1), ("end", 1)]


def test_one_callback_or_none():
    assert CallbackList(None).callbacks == []
    assert len(CallbackList(History()).callbacks) == 1


@pytest.mark.parametrize("bad", [[EarlyStopping], EarlyStopping, [object()], ["early"]])
def test_a_class_is_no_callback(bad):
    with pytest.raises(TypeError, match=r"callbacks: expected instances of .*Callback, got .* Call a class"):
        CallbackList(bad)


# History


def test_history_holds_every_epoch_and_what_others_added():
    model = Model()
    add = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(extra=epoch))
    _, hooks, _ = train([add], losses(3.0, 2.0), model, first=4)
    assert hooks.history.history == {"val_loss": [3.0, 2.0], "extra": [4, 5]}
    assert hooks.history.epoch == [4, 5]
    assert hooks.history.model is model
    assert hooks.history.params == {"epochs": 2}


def test_a_history_of_the_caller_is_used():
    history = History()
    _, hooks, _ = train([history], losses(1.0))
    assert hooks.history is history
    assert len(hooks.callbacks) == 1
    train([history], losses(5.0))
    assert history.history == {"val_loss": [5.0]}


# EarlyStopping


@pytest.mark.parametrize(
    ("arguments", "values", "ran", "stopped"),
    [
        ({}, [3, 2, 2, 1], 3, 2),
        ({"patience": 2}, [3, 2, 2, 2, 1], 4, 3),
        ({"patience": 3}, [3, 2, 2, 2, 1], 5, 0),
        ({"min_delta": 0.5}, [3, 2, 1.6, 0], 3, 2),
        ({"min_delta": -0.5}, [3, 2, 1.6, 0], 3, 2),
        ({"mode": "max"}, [1, 2, 3, 3], 4, 3),
        ({"monitor": "val_accuracy"}, [0.1, 0.2, 0.2], 3, 2),
        ({"baseline": 1, "patience": 2}, [5, 4, 3, 2], 4, 0),
        ({"baseline": 1, "patience": 2}, [5, 4, 4, 0], 3, 2),
        ({"baseline": 6}, [5, 4, 4], 3, 2),
        ({"start_from_epoch": 2}, [3, 3, 3, 3], 4, 3),
        ({"patience": 1}, [float("nan"), float("nan"), 1], 2, 1),
        ({}, [3, 2, 1], 3, 0),
    ],
    ids=str,
)
def test_early_stopping(arguments, values, ran, stopped):
    callback = EarlyStopping(**arguments)
    model, hooks, printed = train([callback], losses(*values, name=arguments.get("monitor", "val_loss")))
    assert len(hooks.history.epoch) == ran
    assert callback.stopped_epoch == stopped
    assert model.stop_training == (stopped > 0)
    assert not printed


def test_early_stopping_never_stops_in_the_first_epoch():
    assert len(train([EarlyStopping()], losses(float("nan"), 1.0))[1].history.epoch) == 2


@pytest.mark.parametrize("values", [[3, 1, 2, 2], [3, 1, 2]], ids=["stopped", "ran out"])
def test_the_best_weights_come_back(values):
    callback = EarlyStopping(patience=2, restore_best_weights=True, verbose=1)
    model, _, printed = train([callback], losses(*values))
    assert model.weights[0] == 1
    assert callback.best == 1
    assert printed[-1] == "Restoring model weights from the end of the best epoch: 2."
    assert ("Epoch 4: early stopping" in printed) == (len(values) == 4)


def test_the_best_weights_may_never_reach_the_baseline():
    model, _, _ = train(
        [EarlyStopping(baseline=0, patience=3, restore_best_weights=True)], losses(4, 2, 3, 3)
    )
    assert model.weights[0] == 1


def test_without_a_value_the_last_weights_stay():
    callback = EarlyStopping(restore_best_weights=True, start_from_epoch=5)
    assert train([callback], losses(1, 2))[0].weights[0] == 1


def test_early_stopping_starts_anew_with_each_fit():
    callback = EarlyStopping()
    train([callback], losses(1, 2))
    assert len(train([callback], losses(9, 8, 8))[1].history.epoch) == 3


# Monitor


@pytest.mark.parametrize(
    ("monitor", "better"),
    [
        *((name, 0.1) for name in ("loss", "val_loss", "mean_squared_error", "mae", "binary_crossentropy")),
        *(
            (name, 0.9)
            for name in ("accuracy", "val_accuracy", "acc", "auc", "precision", "val_recall", "f1")
        ),
    ],
)
def test_the_name_tells_the_direction(monitor, better):
    assert EarlyStopping(monitor).is_better(better, than=0.5)
    assert not EarlyStopping(monitor).is_better(1 - better, than=0.5)


@pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau])
def test_a_name_that_does_not_tell_needs_a_mode(kind):
    with pytest.raises(
        ValueError, match=rf"{kind.__name__}: expected mode 'min' or 'max' with monitor='mine'"
    ):
        kind("mine")
    assert kind("mine", mode="max").is_better(2, than=1)


def test_a_checkpoint_of_every_epoch_needs_no_direction():
    assert train([ModelCheckpoint("m", "mine")], losses(1.0))[0].saved == [("model", "m")]
    with pytest.raises(
        ValueError, match=r"ModelCheckpoint: expected mode 'min' or 'max' with monitor='mine'"
    ):
        ModelCheckpoint("m", "mine", save_best_only=True)


@pytest.mark.parametrize(
    "make", [EarlyStopping, ReduceLROnPlateau, lambda mode: ModelCheckpoint("m", mode=mode)]
)
def test_modes(make):
    with pytest.raises(ValueError, match=r": expected mode 'auto', 'min' or 'max', got 'best'. 'min' means"):
        make(mode="best")


@pytest.mark.parametrize("callback", [EarlyStopping(), ReduceLROnPlateau()])
def test_a_missing_value_is_a_warning_that_names_what_is_there(callback):
    with pytest.warns(
        UserWarning, match=r"expected 'val_loss' among .*, got accuracy, loss. Nothing is done"
    ):
        model, _, _ = train([callback], [{"accuracy": 0.5, "loss": 0.3}])
    assert not model.stop_training
    with pytest.warns(UserWarning, match=r"got none. Nothing"):
        callback.on_epoch_end(0)


# ModelCheckpoint


def test_a_checkpoint_an_epoch(tmp_path):
    path = tmp_path / "run" / "{epoch:02d}-{val_loss:.2f}.npz"
    model, _, printed = train([ModelCheckpoint(path, verbose=1)], losses(3.0, 0.254))
    assert model.saved == [
        ("model", str(tmp_path / "run" / "01-3.00.npz")),
        ("model", str(tmp_path / "run" / "02-0.25.npz")),
    ]
    assert (tmp_path / "run").is_dir()
    assert printed[0] == f"Epoch 1: saving model to {model.saved[0][1]}"


@pytest.mark.parametrize(
    ("arguments", "values", "epochs"),
    [
        ({}, [3, 2, 2, 1], [1, 2, 4]),
        ({"mode": "max"}, [3, 2, 2, 4], [1, 4]),
        ({"initial_value_threshold": 2}, [3, 2, 1], [3]),
    ],
)
def test_only_the_best_is_saved(arguments, values, epochs):
    callback = ModelCheckpoint("{epoch}", save_best_only=True, save_weights_only=True, verbose=1, **arguments)
    model, _, printed = train([callback], losses(*values))
    assert model.saved == [("weights", str(epoch)) for epoch in epochs]
    assert len(printed) == len(values)


def test_what_a_checkpoint_prints():
    _, _, printed = train([ModelCheckpoint("m", save_best_only=True, verbose=1)], losses(3, 2, 2.5))
    assert printed == [
        "Epoch 1: val_loss improved from inf to 3.00000, saving model to m",
        "Epoch 2: val_loss improved from 3.00000 to 2.00000, saving model to m",
        "Epoch 3: val_loss did not improve from 2.00000",
    ]


def test_the_best_is_remembered_over_fits():
    callback = ModelCheckpoint("{epoch}", save_best_only=True)
    train([callback], losses(3, 1))
    assert train([callback], losses(2))[0].saved == []


def test_a_checkpoint_every_few_batches():
    callback = ModelCheckpoint("{epoch}-{batch}-{val_loss}", save_freq=3)
    model, _, _ = train([callback], losses(0.5, 0.25), batches=4)
    assert [path for _, path in model.saved] == ["1-3-0.5", "2-2-0.25"]


def test_without_its_value_a_checkpoint_saves_all_the_same():
    with pytest.warns(
        UserWarning, match=r"expected 'val_loss' among .*, got loss. The model is saved all the same"
    ):
        model, _, _ = train([ModelCheckpoint("m", save_best_only=True)], [{"loss": 1.0}])
    assert model.saved == [("model", "m")]


@pytest.mark.parametrize("path", ["{val_acc:.2f}", "{}", "{val_loss:q}"])
def test_a_field_without_a_value_is_named(path):
    with pytest.raises(
        ValueError, match=r"ModelCheckpoint: expected filepath with fields out of val_loss, epoch"
    ):
        train([ModelCheckpoint(path)], losses(1.0))


@pytest.mark.parametrize("freq", ["batch", 0, -1, 2.5, True])
def test_save_freq(freq):
    with pytest.raises(
        ValueError, match=r"ModelCheckpoint: expected save_freq to be an integer of 1 or more"
    ):
        ModelCheckpoint("m", save_freq=freq)


# learning rate


@pytest.mark.parametrize("schedule", [lambda epoch, rate: rate / 2, lambda epoch: 0.05 / 2**epoch])
def test_a_scheduler_sets_the_rate_and_logs_it(schedule):
    model, hooks, printed = train([LearningRateScheduler(schedule, verbose=1)], losses(1, 1))
    assert model.optimizer.learning_rate == 0.025
    assert hooks.history.history["learning_rate"] == [0.05, 0.025]
    assert printed[0] == "Epoch 1: LearningRateScheduler setting learning rate to 0.05."


def test_an_error_within_the_schedule_comes_out():
    def broken(epoch, rate):
        raise TypeError("inside")

    with pytest.raises(TypeError, match=r"^inside$"):
        train([LearningRateScheduler(broken)], losses(1))


def test_numbers_of_numpy_and_built_in_functions():
    callback = LearningRateScheduler(lambda epoch: np.float32(0.5))
    assert train([callback], losses(1))[0].optimizer.learning_rate == 0.5
    assert train([LearningRateScheduler(max)], losses(1))[0].optimizer.learning_rate == 0.1


@pytest.mark.parametrize("bad", [None, "0.1", True])
def test_a_schedule_returns_a_float(bad):
    with pytest.raises(ValueError, match=r"expected schedule to return a float, got .* in epoch 0"):
        train([LearningRateScheduler(lambda epoch: bad)], losses(1))


def test_a_schedule_is_a_function():
    with pytest.raises(TypeError, match=r"LearningRateScheduler: expected a function of .*, got 0.1"):
        LearningRateScheduler(0.1)


@pytest.mark.parametrize(
    ("arguments", "values", "rates"),
    [
        ({"patience": 2}, [3, 3, 3, 3, 3], [1, 1, 1, 0.1, 0.1]),
        ({"patience": 1, "factor": 0.5}, [3, 3, 3], [1, 1, 0.5]),
        ({"patience": 1, "factor": 0.5, "cooldown": 2}, [3, 3, 3, 3, 3, 3], [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ({"patience": 1, "min_lr": 0.05}, [3, 3, 3, 3, 3], [1, 1, 0.1, 0.05, 0.05]),
        ({"patience": 1}, [3, 2.99995, 2.9], [1, 1, 0.1]),
        ({"patience": 1, "mode": "max"}, [1, 2, 3], [1, 1, 1]),
    ],
    ids=str,
)
def test_the_rate_is_reduced_on_a_plateau(arguments, values, rates):
    callback = ReduceLROnPlateau(verbose=1, **arguments)
    _, hooks, printed = train([callback], losses(*values), Model(1.0))
    # the logs hold the rate that the epoch was trained with
    assert hooks.history.history["learning_rate"] == pytest.approx(rates)
    assert all("ReduceLROnPlateau reducing learning rate to" in line for line in printed)


def test_a_plateau_is_forgotten_with_each_fit():
    callback = ReduceLROnPlateau(patience=1)
    train([callback], losses(1, 1))
    assert train([callback], losses(5), Model(1.0))[0].optimizer.learning_rate == 1.0


@pytest.mark.parametrize("factor", [1.0, 2, -0.1, float("nan")])
def test_a_factor_reduces(factor):
    with pytest.raises(ValueError, match=r"ReduceLROnPlateau: expected factor of 0 or more and below 1, got"):
        ReduceLROnPlateau(factor=factor)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: EarlyStopping(patience=-1), "patience"),
        (lambda: EarlyStopping(start_from_epoch=0.5), "start_from_epoch"),
        (lambda: ReduceLROnPlateau(patience="2"), "patience"),
        (lambda: ReduceLROnPlateau(cooldown=-1), "cooldown"),
    ],
)
def test_counts_are_integers(make, name):
    with pytest.raises(ValueError, match=rf": expected {name} to be an integer of 0 or more, got"):
        make()


# CSVLogger


def rows(path, separator=",") -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def test_a_row_an_epoch(tmp_path):
    path = tmp_path / "logs" / "run.csv"
    train([CSVLogger(path)], [{"loss": 0.5, "accuracy": np.float32(0.25)}, {"loss": 0.125}])
    assert rows(path) == [["epoch", "accuracy", "loss"], ["0", "0.25", "0.5"], ["1", "NA", "0.125"]]


def test_rows_are_on_disk_as_they_come(tmp_path):
    callback = CSVLogger(tmp_path / "log.csv")
    callback.on_train_begin()
    for epoch in range(3):
        callback.on_epoch_end(epoch, {"loss": 0.5})
        assert len(rows(tmp_path / "log.csv")) == epoch + 2
    callback.on_train_end()


def test_separator_and_writing_anew(tmp_path):
    path = tmp_path / "log.tsv"
    for _ in range(2):
        train([CSVLogger(path, separator="\t")], losses(1.0))
    assert rows(path, "\t") == [["epoch", "val_loss"], ["0", "1.0"]]


def test_appending_keeps_the_columns(tmp_path):
    path = tmp_path / "log.csv"
    train([CSVLogger(path, append=True)], [{"loss": 1.0, "val_loss": 2.0}])
    train([CSVLogger(path, append=True)], [{"loss": 3.0, "extra": 9}], first=1)
    assert rows(path) == [["epoch", "loss", "val_loss"], ["0", "1.0", "2.0"], ["1", "3.0", "NA"]]


def test_appending_after_a_crash_within_a_row(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"epoch,loss\r\n0,1.0\r\n1,0.")
    train([CSVLogger(path, append=True)], [{"loss": 3.0}], first=2)
    assert rows(path) == [["epoch", "loss"], ["0", "1.0"], ["1", "0."], ["2", "3.0"]]


def test_appending_to_an_empty_file(tmp_path):
    (tmp_path / "log.csv").touch()
    train([CSVLogger(tmp_path / "log.csv", append=True)], losses(1.0))
    assert rows(tmp_path / "log.csv")[0] == ["epoch", "val_loss"]


@pytest.mark.parametrize("separator", ["", ", "])
def test_a_separator_is_one_character(separator):
    with pytest.raises(ValueError, match=r"CSVLogger: expected separator to be one character, got"):
        CSVLogger("log.csv", separator)


# the small ones


def test_lambda_callback_calls_what_it_is_given():
    calls = []
    callback = LambdaCallback(
        on_train_begin=lambda logs: calls.append("train"),
        on_epoch_begin=lambda epoch, logs: calls.append(("begin", epoch)),
        on_train_batch_end=lambda batch, logs: calls.append(("batch", batch)),
        on_test_end=lambda logs: calls.append("test"),
    )
    _, hooks, _ = train([callback], losses(1.0), batches=1)
    hooks.on_test_end({})
    assert calls == ["train", ("begin", 0), ("batch", 0), "test"]


def test_lambda_callback_knows_its_hooks():
    with pytest.raises(
        TypeError, match=r"LambdaCallback: expected names of Callback's methods, got 'on_epoch'"
    ):
        LambdaCallback(on_epoch=print)
    with pytest.raises(TypeError, match=r"expected names of Callback's methods, got 'set_model'"):
        LambdaCallback(set_model=print)
    with pytest.raises(TypeError, match=r"LambdaCallback: expected a function for on_epoch_end, got 3"):
        LambdaCallback(on_epoch_end=3)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), np.float32("nan")])
def test_terminate_on_nan(loss):
    model, _, printed = train([TerminateOnNaN()], losses(loss, name="loss"), batches=1)
    assert model.stop_training
    assert printed == ["Batch 0: Invalid loss, terminating training"]


def test_finite_losses_go_on():
    assert not train([TerminateOnNaN()], [{"loss": 1.0}, {}], batches=2)[0].stop_training
