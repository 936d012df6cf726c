"""Optimizers: steps against the formulas in NumPy, limits, state, rates and schedules; Keras's runs are in test_keras_figures.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import networks
import numpy as np
import pytest

import cnnlite
from cnnlite import layers, models, optimizers, regularizers
from cnnlite.engine.cpu.update import Update
from cnnlite.optimizers import optimizer, schedules

pytestmark = pytest.mark.usefixtures("seeded")
STEPS = 5
Formula = Callable[[float], Iterator[Any]]


def sgd(momentum: float = 0.0, nesterov: bool = False) -> Any:
    def step(w: np.ndarray, g: np.ndarray, state: dict[str, Any], rate: float, t: int) -> np.ndarray:
        v = state["v"] = momentum * state.get("v", 0.0) - rate * g
        return w + (momentum * v - rate * g if nesterov else v)

    return step


def adam(beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7) -> Any:
    def step(w: np.ndarray, g: np.ndarray, state: dict[str, Any], rate: float, t: int) -> np.ndarray:
        m = state["m"] = beta_1 * state.get("m", 0.0) + (1 - beta_1) * g
        v = state["v"] = beta_2 * state.get("v", 0.0) + (1 - beta_2) * g * g
        return w - rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (np.sqrt(v) + epsilon)

    return step


def rmsprop(rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7, centered: bool = False) -> Any:
    def step(w: np.ndarray, g: np.ndarray, state: dict[str, Any], rate: float, t: int) -> np.ndarray:
        v = state["v"] = rho * state.get("v", 0.0) + (1 - rho) * g * g
        mean = state["mean"] = rho * state.get("mean", 0.0) + (1 - rho) * g
        increment = rate * g / np.sqrt(v - mean * mean * centered + epsilon)
        moved = state["moved"] = momentum * state.get("moved", 0.0) + increment
        return w - moved

    return step


def by_norm(limit: float) -> Any:
    return lambda grads: [g * min(1.0, limit / np.linalg.norm(g)) for g in grads]


def by_global_norm(limit: float) -> Any:
    def limited(grads: list[np.ndarray]) -> list[np.ndarray]:
        norm = np.sqrt(sum((g * g).sum() for g in grads))
        return [g * min(1.0, limit / norm) for g in grads]

    return limited


def same(grads: list[np.ndarray]) -> list[np.ndarray]:
    return grads


def cases() -> dict[str, tuple[optimizers.Optimizer, Any, Any, float]]:
    """An optimizer, its formula, its limit and its weight decay."""
    sgd_, adam_, rmsprop_ = optimizers.SGD, optimizers.Adam, optimizers.RMSprop
    return {
        "sgd": (sgd_(0.1), sgd(), same, 0.0),
        "momentum": (sgd_(0.1, momentum=0.9), sgd(0.9), same, 0.0),
        "nesterov": (sgd_(0.1, 0.9, True), sgd(0.9, True), same, 0.0),
        "adam": (adam_(0.01), adam(), same, 0.0),
        "adam with arguments": (adam_(0.01, 0.5, 0.9, 1e-3), adam(0.5, 0.9, 1e-3), same, 0.0),
        "adam with decay": (adam_(0.01, weight_decay=0.1), adam(), same, 0.1),
        "adamw": (optimizers.AdamW(0.01), adam(), same, 0.004),
        "adamw with arguments": (optimizers.AdamW(0.01, 0.1, 0.5, 0.9, 1e-3, clipnorm=0.5), adam(0.5, 0.9, 1e-3), by_norm(0.5), 0.1),
        "rmsprop": (rmsprop_(0.01), rmsprop(), same, 0.0),
        "rmsprop with momentum": (rmsprop_(0.01, 0.8, 0.5), rmsprop(0.8, 0.5), same, 0.0),
        "rmsprop centered": (rmsprop_(0.01, centered=True, epsilon=1e-3), rmsprop(epsilon=1e-3, centered=True), same, 0.0),
        "sgd with decay": (sgd_(0.1, weight_decay=0.2), sgd(), same, 0.2),
        "clipnorm": (sgd_(0.1, clipnorm=0.5), sgd(), by_norm(0.5), 0.0),
        "large clipnorm": (sgd_(0.1, clipnorm=1e6), sgd(), same, 0.0),
        "clipvalue": (sgd_(0.1, clipvalue=0.3), sgd(), lambda grads: [np.clip(g, -0.3, 0.3) for g in grads], 0.0),
        "global_clipnorm": (adam_(0.01, global_clipnorm=0.5), adam(), by_global_norm(0.5), 0.0),
    }  # fmt: skip


def model_of(dtype: str, size: int) -> models.Sequential:
    """Weights of several sizes: one, some, and, for the large model, more than one piece of an update."""
    stacked = [layers.Dense(size), layers.Dense(1), layers.Dense(3, use_bias=False)]
    model = models.Sequential([layers.Input((7,)), *stacked], dtype=dtype)
    model.build()
    return model


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize(("dtype", "size"), [("float64", 5), ("float64", 2500), ("float32", 5)])
def test_steps(name: str, dtype: str, size: int) -> None:
    optimizer, formula, limit, decay = cases()[name]
    model = model_of(dtype, size)
    rng = np.random.default_rng(0)
    weights = [w.astype(float) for w in model.get_weights()]
    states: list[dict[str, Any]] = [{} for _ in weights]
    for t in range(1, STEPS + 1):
        grads = [rng.standard_normal(w.shape) for w in weights]
        for parameter, grad in zip(model.weights, grads, strict=True):
            parameter.gradient[...] = grad
        optimizer.apply(model.weights)
        rate = optimizer.learning_rate
        stepped = zip(weights, limit(grads), states, strict=True)
        weights = [formula(w - decay * rate * w, g, state, rate, t) for w, g, state in stepped]
    assert optimizer.iterations == STEPS
    tolerance = {"rtol": 1e-9, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-5}
    for found, wanted in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(found, wanted, **tolerance)


@pytest.mark.parametrize("regularizer", ["l1", "l2", "l1_l2"])
def test_penalties_are_added_before_limits(regularizer: str) -> None:
    """Their gradients belong to the loss: a limit on gradients is one on both together. Biases have none."""
    dense = layers.Dense(4, kernel_regularizer=regularizer)
    model = models.Sequential([layers.Input((3,)), dense], dtype="float64")
    w, b = model.get_weights()
    dense.kernel.gradient[...], dense.bias.gradient[...] = 0.02, 0.02
    penalty = dense.kernel_regularizer
    wanted = np.clip(0.02 + penalty.l1 * np.sign(w) + 2 * penalty.l2 * w, -0.025, 0.025)
    optimizers.SGD(1.0, clipvalue=0.025).apply(model.weights)
    np.testing.assert_allclose(dense.kernel.value, w - wanted, rtol=1e-12)
    np.testing.assert_allclose(dense.bias.value, b - 0.02, rtol=1e-12)


def test_schedules_count_steps() -> None:
    model = networks.small(dtype="float64")
    optimizer = optimizers.SGD(schedules.PiecewiseConstantDecay([1, 3], [0.5, 0.25, 0.125]))
    rates, moved = [], []
    for _ in range(5):
        model.zero_gradients()
        model.weights[0].gradient[...] = 1
        before = model.get_weights()[0]
        rates.append(optimizer.learning_rate)
        optimizer.apply(model.weights)
        moved.append(float((before - model.get_weights()[0]).mean()))
    assert rates == [0.5, 0.5, 0.25, 0.25, 0.125]
    np.testing.assert_allclose(moved, rates)
    optimizer.learning_rate = lambda step: 1.0 / step
    assert optimizer.learning_rate == 0.2
    optimizer.learning_rate = 3
    assert optimizer.learning_rate == 3.0


def test_defaults_as_in_keras() -> None:
    assert optimizers.SGD().get_config() == {
        "learning_rate": 0.01, "momentum": 0.0, "nesterov": False,
        "weight_decay": None, "clipnorm": None, "clipvalue": None, "global_clipnorm": None,
    }  # fmt: skip
    adam_config, rmsprop_config = optimizers.Adam().get_config(), optimizers.RMSprop().get_config()
    assert [adam_config[key] for key in ("learning_rate", "beta_1", "beta_2", "epsilon")] == [
        0.001,
        0.9,
        0.999,
        1e-7,
    ]
    found = [rmsprop_config[key] for key in ("learning_rate", "rho", "momentum", "epsilon", "centered")]
    assert found == [0.001, 0.9, 0.0, 1e-7, False]


@pytest.mark.parametrize("name", cases())
def test_configurations_come_back(name: str) -> None:
    optimizer = cases()[name][0]
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()


def test_schedules_are_part_of_the_configuration() -> None:
    optimizer = optimizers.Adam(schedules.CosineDecay(0.1, 10))
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    again.iterations = optimizer.iterations = 4
    assert again.learning_rate == optimizer.learning_rate


def test_get() -> None:
    assert type(optimizers.get("Adam")) is type(optimizers.get("adam")) is optimizers.Adam
    assert type(optimizers.get(optimizers.SGD)) is optimizers.SGD
    optimizer = optimizers.SGD()
    assert optimizers.get(optimizer) is optimizer


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optimizers.get("adagrad"), ValueError, r"optimizer: expected one of \['adam', 'adamw', .*\], got 'adagrad'"),
        (lambda: optimizers.AdamW(weight_decay=None), ValueError, "adamw: expected weight_decay of 0 or more, got None; use Adam"),
        (lambda: optimizers.AdamW(weight_decay=-1), ValueError, "adamw: expected weight_decay as a number of at least 0, got -1"),
        (lambda: optimizers.get(0.1), TypeError, "optimizer: expected a name or an Optimizer, got float"),
        (lambda: optimizers.SGD(-0.1), ValueError, "sgd: expected learning_rate as a number of at least 0 or a schedule, got -0.1"),
        (lambda: optimizers.SGD(float("nan")), ValueError, "sgd: expected learning_rate .* got nan"),
        (lambda: optimizers.SGD("0.1"), ValueError, "sgd: expected learning_rate .* got '0.1'"),
        (lambda: optimizers.SGD(momentum=1.5), ValueError, "sgd: expected momentum as a number from 0 to 1, got 1.5"),
        (lambda: optimizers.SGD(momentum="0.9"), ValueError, "sgd: expected momentum as a number from 0 to 1, got '0.9'"),
        (lambda: optimizers.Adam(beta_1=1.0), ValueError, "adam: expected beta_1 and beta_2 below 1, got 1.0 and 0.999"),
        (lambda: optimizers.Adam(beta_2=None), ValueError, "adam: expected beta_2 as a number from 0 to 1, got None"),
        (lambda: optimizers.RMSprop(rho=1.5), ValueError, "rmsprop: expected rho as a number from 0 to 1, got 1.5"),
        (lambda: optimizers.RMSprop(rho=1), ValueError, "rmsprop: expected rho below 1, got 1"),
        (lambda: optimizers.SGD(clipvalue="1"), ValueError, "sgd: expected clipvalue as a number of at least 0, got '1'"),
        (lambda: optimizers.Adam(lr=1), TypeError, r"Adam: unknown arguments \['lr'\]; it takes learning_rate, beta_1, .*, clipnorm"),
        (lambda: optimizers.SGD(clipnorm=0), ValueError, "sgd: expected clipnorm above 0, got 0"),
        (lambda: optimizers.SGD(clipnorm=1, clipvalue=1), ValueError, "at most one of clipnorm, clipvalue and global_clipnorm"),
        (lambda: optimizers.SGD(weight_decay=-1), ValueError, "sgd: expected weight_decay as a number of at least 0, got -1"),
        (lambda: optimizers.Adam(epsilon=-1), ValueError, "adam: expected epsilon as a number of at least 0, got -1"),
        (lambda: optimizers.RMSprop(epsilon=-1), ValueError, "rmsprop: expected epsilon as a number of at least 0, got -1"),
        (lambda: setattr(optimizers.SGD(name="mine"), "learning_rate", None), ValueError, "mine: expected learning_rate"),
        (lambda: optimizers.Optimizer(0.1).kernel(), NotImplementedError, r"Optimizer: define kernel\(\)"),
    ],
)  # fmt: skip
def test_refusals(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_state_is_zero_at_first_and_counts_for_its_own_weights() -> None:
    model = networks.small()
    optimizer = optimizers.Adam()
    assert optimizer.state_of(model.weights[0]) is None
    optimizer.build(model.weights)
    m, v = optimizer.state_of(model.weights[0])
    assert m.shape == v.shape == model.weights[0].shape
    assert not m.any()
    kept = optimizer.state
    optimizer.build(model.weights)
    assert optimizer.state is kept


@pytest.mark.parametrize("make", [optimizers.SGD, optimizers.RMSprop])
def test_momentum_may_be_set_between_steps(make: Any) -> None:
    """Also for batches of a size seen before: programs are made for momentum or without."""

    def train(forgetting: bool) -> list[np.ndarray]:
        cnnlite.set_random_seed(4)
        model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
        model.compile(make(0.1), "mse")
        rng = np.random.default_rng(0)
        for momentum in (0.0, 0.5, 0.0, 0.5):
            model.optimizer.momentum = momentum
            for n in (4, 7):
                if forgetting:
                    model.forget()
                model.train_on_batch(rng.standard_normal((n, 3)), rng.standard_normal((n, 2)))
        return model.get_weights()

    for kept, anew in zip(train(False), train(True), strict=True):
        np.testing.assert_array_equal(kept, anew)


@pytest.mark.parametrize("by", ["train_on_batch", "apply"])
def test_layers_trained_in_turn_keep_their_programs_and_their_state(
    by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if each step made them anew, for a layer that is always trained too."""

    def train(kept: int) -> tuple[list[np.ndarray], int]:
        monkeypatch.setattr(optimizer, "KEPT", kept)
        made = []
        init = Update.__init__
        with monkeypatch.context() as patch:
            patch.setattr(
                Update, "__init__", lambda *args, **more: (made.append(args), init(*args, **more))[1]
            )
            cnnlite.set_random_seed(4)
            model = models.Sequential([layers.Input((3,)), *(layers.Dense(3) for _ in range(3))])
            model.compile(optimizers.Adam(0.1), "mse")
            model.build()
            rng = np.random.default_rng(0)
            for step in range(9):
                for number in (0, 2):
                    model.layers[number].trainable = step % 3 != number
                x, y = rng.standard_normal((2, 4, 3))
                if by == "apply":
                    model.zero_gradients()
                    model.backward(model.forward(x) - y)
                    model.optimizer.apply(model.trainable_weights)
                else:
                    model.train_on_batch(x, y)
        states = [slot.copy() for weight in model.weights for slot in model.optimizer.state_of(weight)]
        return [*model.get_weights(), *states], len(made)

    (kept, few), (anew, many) = train(2), train(0)
    assert networks.same(kept, anew)
    assert (few, many) == (3, 9)


@pytest.mark.parametrize("by", ["train_on_batch", "apply"])
def test_a_penalty_may_be_set_between_steps(by: str) -> None:
    """Without another gradient w -= learning_rate * 2 * l2 * w."""
    model = models.Sequential(
        [layers.Input((1,)), layers.Dense(1, use_bias=False, kernel_regularizer=regularizers.L2(0.1))]
    )
    model.compile(optimizers.SGD(0.5), "mse")
    model.build()
    weight = 1.0
    model.set_weights([np.array([[weight]])])
    for l2 in (0.1, 0.1, 0.25, 0.1):
        model.layers[-1].kernel_regularizer.l2 = l2
        if by == "apply":
            model.zero_gradients()
            model.optimizer.apply(model.trainable_weights)
        else:
            model.train_on_batch(np.zeros((1, 1)), np.zeros((1, 1)))
        weight -= 0.5 * 2 * l2 * weight
        assert model.get_weights()[0].item() == pytest.approx(weight, rel=1e-6)


def test_sgd_goes_on_as_its_formula_says_when_momentum_begins() -> None:
    model = models.Sequential([layers.Input((1,)), layers.Dense(1, use_bias=False)])
    model.compile(optimizers.SGD(0.5), "mse")
    model.build()
    model.set_weights([np.ones((1, 1))])
    weight, velocity = 1.0, 0.0
    for momentum in (0.0, 0.5, 0.5):
        model.optimizer.momentum = momentum
        model.train_on_batch(np.ones((1, 1)), np.zeros((1, 1)))
        velocity = momentum * velocity - 0.5 * 2 * weight
        weight += velocity
        if momentum == 0:
            velocity = 0.0  # none is kept before the first step with momentum
    assert model.get_weights()[0].item() == pytest.approx(weight, abs=1e-6)
