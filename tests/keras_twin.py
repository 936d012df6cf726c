"""Training runs that Keras and this library must do alike, step for step: the recipe both follow.

Our names are Keras's names, so one function does a run with either: `train(keras, run)` made the figures in
data/keras_figures.json (tools/make_keras_figures.py), and the tests compare `train(cnnlite, run)` with them.
Weights, images and labels come from NumPy's generators, so nothing is downloaded and nothing is random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
LayerList: TypeAlias = tuple[tuple[str, dict[str, Any]], ...]

BATCH = 32
STEPS = 20
CHECKED_IMAGES = 8

DOCUMENTED: LayerList = (
    ("Conv2D", {"filters": 32, "kernel_size": (3, 3), "activation": "relu"}),
    ("MaxPooling2D", {"pool_size": (2, 2)}),
    ("Conv2D", {"filters": 64, "kernel_size": (3, 3), "activation": "relu"}),
    ("MaxPooling2D", {"pool_size": (2, 2)}),
    ("Conv2D", {"filters": 64, "kernel_size": (3, 3), "activation": "relu"}),
    ("Flatten", {}),
    ("Dense", {"units": 64, "activation": "relu"}),
    ("Dense", {"units": 10, "activation": "softmax"}),
)

# Uneven 'same' padding, a stride, windows that overlap, a tanh and a sigmoid: what the documented network
# lacks.
TINY: LayerList = (
    ("Conv2D", {"filters": 5, "kernel_size": (4, 3), "strides": 2, "padding": "same", "activation": "tanh"}),
    ("MaxPooling2D", {"pool_size": (3, 3), "strides": 2, "padding": "same"}),
    ("Flatten", {}),
    ("Dense", {"units": 7, "activation": "sigmoid", "use_bias": False}),
    ("Dense", {"units": 10, "activation": "softmax"}),
)

NETWORKS: dict[str, tuple[tuple[int, int, int], LayerList]] = {
    "documented": ((28, 28, 1), DOCUMENTED),
    "tiny": ((11, 14, 3), TINY),
}


@dataclass(frozen=True)
class Run:
    """One training run of STEPS steps.

    `labels` is "sparse" (n,), "onehot" (n, 10) or "binary" (n, 1); `head` replaces the arguments of the last
    layer; `l2` is a kernel regulariser for every Conv2D and Dense; `weighted` gives each image a weight.
    """

    name: str
    network: str = "documented"
    optimizer: str = "SGD"
    optimizer_arguments: Mapping[str, Any] = field(default_factory=lambda: {"learning_rate": 0.01})
    schedule: tuple[str, Mapping[str, Any]] | None = None
    loss: str = "SparseCategoricalCrossentropy"
    loss_arguments: Mapping[str, Any] = field(default_factory=dict)
    labels: str = "sparse"
    head: Mapping[str, Any] = field(default_factory=dict)
    l2: float = 0.0
    class_weight: Mapping[int, float] | None = None
    weighted: bool = False


# Most arguments are exact in float32. Keras rounds some of them to float32 even where the weights are
# float64: with Adam's default beta_2 = 0.999 the length of its first step is off by 6e-6, and runs "adam" and
# "tiny_adam" with it.
_LINEAR = {"activation": None}
_SIGMOID = {"units": 1, "activation": "sigmoid"}
_DECAY = ("ExponentialDecay", {"initial_learning_rate": 0.0625, "decay_steps": 5, "decay_rate": 0.5})

RUNS: dict[str, Run] = {
    run.name: run
    for run in (
        Run("sgd"),
        Run("sgd_momentum", optimizer_arguments={"learning_rate": 0.01, "momentum": 0.875}),
        Run("sgd_nesterov", optimizer_arguments={"learning_rate": 0.01, "momentum": 0.875, "nesterov": True}),
        Run("adam", optimizer="Adam", optimizer_arguments={}),
        Run("adam_exact", optimizer="Adam", optimizer_arguments={"beta_1": 0.875, "beta_2": 1 - 2**-10}),
        Run("adam_arguments", optimizer="Adam",
            optimizer_arguments={"learning_rate": 0.002, "beta_1": 0.75, "beta_2": 0.984375, "epsilon":
            2**-13}),
        # RMSprop's first steps are long: with its default rate the documented network follows every rounding
        # error.
        Run("rmsprop", optimizer="RMSprop", optimizer_arguments={"learning_rate": 1e-4}),
        Run("rmsprop_defaults", network="tiny", optimizer="RMSprop", optimizer_arguments={}),
        Run("rmsprop_arguments", network="tiny", optimizer="RMSprop",
            optimizer_arguments={"learning_rate": 0.002, "rho": 0.8, "epsilon": 1e-4}),
        Run("rmsprop_momentum", network="tiny", optimizer="RMSprop",
            optimizer_arguments={"learning_rate": 0.001, "momentum": 0.875}),
        Run("rmsprop_centered", network="tiny", optimizer="RMSprop",
            optimizer_arguments={"learning_rate": 0.001, "centered": True}),
        Run("categorical", loss="CategoricalCrossentropy", labels="onehot"),
        Run("categorical_logits", loss="CategoricalCrossentropy", labels="onehot", head=_LINEAR,
            loss_arguments={"from_logits": True}),
        Run("sparse_logits", loss_arguments={"from_logits": True}, head=_LINEAR),
        Run("mean_squared_error", loss="MeanSquaredError", labels="onehot"),
        Run("binary", network="tiny", loss="BinaryCrossentropy", labels="binary", head=_SIGMOID,
            optimizer_arguments={"learning_rate": 0.1}),
        Run("binary_logits", network="tiny", loss="BinaryCrossentropy", labels="binary",
            head={"units": 1, "activation": None}, loss_arguments={"from_logits": True},
            optimizer_arguments={"learning_rate": 0.1}),
        Run("tiny_adam", network="tiny", optimizer="Adam", optimizer_arguments={"learning_rate": 0.01}),
        Run("clipnorm", optimizer_arguments={"learning_rate": 0.1, "clipnorm": 0.05}),
        Run("clipvalue", optimizer_arguments={"learning_rate": 0.1, "clipvalue": 0.002}),
        Run("global_clipnorm", optimizer_arguments={"learning_rate": 0.1, "global_clipnorm": 0.1}),
        Run("l2", l2=2**-7, optimizer_arguments={"learning_rate": 0.05}),
        Run("class_weight", class_weight={0: 3.0, 1: 0.5, 7: 2.0} | {c: 1.0 for c in (2, 3, 4, 5, 6, 8, 9)}),
        Run("sample_weight", weighted=True),
        Run("schedule", optimizer_arguments={}, schedule=_DECAY),
    )
}  # fmt: skip


def images_and_labels(n: int, shape: tuple[int, int, int], seed: int = 0) -> tuple[F32, NDArray[np.int64]]:
    """Images (n, h, w, c) in [0, 1] with a blurred pattern for each class, and labels (n,) from 0 to 9.

    >>> x, y = images_and_labels(6, (28, 28, 1))
    >>> x.shape, x.dtype, y.shape
    ((6, 28, 28, 1), dtype('float32'), (6,))
    """
    rng = np.random.default_rng(seed)
    h, w, c = shape
    coarse = rng.random((10, -(-h // 7), -(-w // 7), c))
    patterns = coarse.repeat(7, axis=1).repeat(7, axis=2)[:, :h, :w]
    y = rng.integers(0, 10, n)
    noisy = patterns[y] + rng.normal(0.0, 0.2, (n, *shape))
    # About half of the pixels are black, as in the real images.
    return (np.clip(noisy - 0.5, 0.0, 0.5) * 2.0).astype(np.float32), y


def initial_weights(shapes: list[tuple[int, ...]], seed: int = 1) -> list[F32]:
    """Arrays for these shapes, in order: glorot-uniform; small values for vectors, so that biases take part.

    >>> [w.shape for w in initial_weights([(3, 3, 1, 32), (32,)])]
    [(3, 3, 1, 32), (32,)]
    """
    rng = np.random.default_rng(seed)
    arrays = []
    for shape in shapes:
        taps = int(np.prod(shape[:-2]))
        limit = 0.01 if len(shape) == 1 else np.sqrt(6.0 / (taps * (shape[-2] + shape[-1])))
        arrays.append(rng.uniform(-limit, limit, shape).astype(np.float32))
    return arrays


def build(api: ModuleType, run: Run, **model_arguments: Any) -> Any:
    """The run's network with its initial weights, compiled; `api` is keras or cnnlite.

    For float64, Keras is told so beforehand (`set_floatx` and `set_dtype_policy`), and cnnlite by
    dtype="float64" here.
    """
    shape, described = NETWORKS[run.network]
    model = api.models.Sequential([api.layers.Input(shape)], **model_arguments)
    for i, (name, arguments) in enumerate(described):
        chosen = dict(arguments)
        if i == len(described) - 1:
            chosen.update(run.head)
        if run.l2 and name in ("Conv2D", "Dense"):
            chosen["kernel_regularizer"] = api.regularizers.L2(run.l2)
        model.add(getattr(api.layers, name)(**chosen))
    model.set_weights(initial_weights([tuple(w.shape) for w in model.get_weights()]))
    chosen = dict(run.optimizer_arguments)
    if run.schedule is not None:
        name, schedule_arguments = run.schedule
        chosen["learning_rate"] = getattr(api.optimizers.schedules, name)(**schedule_arguments)
    model.compile(
        optimizer=getattr(api.optimizers, run.optimizer)(**chosen),
        loss=getattr(api.losses, run.loss)(**run.loss_arguments),
        metrics=["accuracy"],
    )
    return model


def batches(run: Run, n: int = STEPS * BATCH) -> tuple[F32, NDArray[Any], F32 | None]:
    """All the images of a run, their labels in the form its loss takes, and their weights or None."""
    x, classes = images_and_labels(n, NETWORKS[run.network][0])
    y: NDArray[Any] = classes
    if run.labels == "onehot":
        y = np.eye(10, dtype=np.float32)[classes]
    elif run.labels == "binary":
        y = (classes % 2).astype(np.float32)[:, None]
    weights = np.random.default_rng(5).uniform(0.0, 2.0, n).astype(np.float32) if run.weighted else None
    return x, y, weights


def train(api: ModuleType, run: Run, **model_arguments: Any) -> dict[str, list[Any]]:
    """Loss and accuracy of every step, and what the network then predicts for the first images.

    A `fit` of one batch is one step: its history holds that batch's figures, taken before the update.

    In float64 two right implementations agree to about 1e-10. In float32 they do until a ReLU's input lies
    within rounding of zero: then one lets a gradient through and the other does not, and from there on they
    drift apart (plain SGD by 1e-5 in the loss, Adam by 1e-2). So float64 is for the formulas, and float32 for
    the first steps.
    """
    model = build(api, run, **model_arguments)
    x, y, weights = batches(run)
    figures: dict[str, list[Any]] = {"loss": [], "accuracy": []}
    for start in range(0, len(x), BATCH):
        part = slice(start, start + BATCH)
        history = model.fit(
            x[part],
            y[part],
            batch_size=BATCH,
            shuffle=False,
            verbose=0,
            class_weight=None if run.class_weight is None else dict(run.class_weight),
            sample_weight=None if weights is None else weights[part],
        ).history
        for name in figures:
            figures[name].append(float(history[name][0]))
    predicted = np.asarray(model.predict(x[:CHECKED_IMAGES], verbose=0))
    figures["predictions"] = [[float(value) for value in row] for row in predicted]
    return figures
