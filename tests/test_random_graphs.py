"""Random small networks with joins on the CPU: outputs by the references, gradients by a difference along one direction."""

from __future__ import annotations

from typing import Any

import networks
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_network import outputs_of

import cnnlite
from cnnlite import layers, models
from cnnlite.engine.cpu import passes, programs
from cnnlite.mirrored import aligned_zeros

pytestmark = pytest.mark.usefixtures("seeded", "any_threads")
EPS = 1e-6


@st.composite
def smooth_networks(draw: st.DrawFn, dtype: str = "float64") -> models.Sequential:
    """Up to seven layers without kinks, of any kind that fits the shape so far; joins read any output of the right size."""
    model = models.Sequential(dtype=dtype)
    shape = draw(st.tuples(st.integers(2, 7), st.integers(2, 7), st.integers(1, 4)))
    model.add(layers.Input(shape))
    outputs: dict[str, tuple[int, ...]] = {"input": shape}
    for number in range(draw(st.integers(1, 7))):
        h, w, c = shape
        same = sorted(name for name, other in outputs.items() if other == shape)
        beside = sorted(name for name, other in outputs.items() if other[:2] == (h, w))
        kinds = ["conv", "transposed", "normalization", "activation", "average", "up", "depthwise", "frame"]
        kind = draw(st.sampled_from([*kinds, *["add", "concatenate"] * 2]))
        name = f"layer_{number}"
        few, sources = (
            st.integers(1, 3),
            st.lists(st.sampled_from(same if kind == "add" else beside), min_size=1, max_size=2),
        )
        arguments: dict[str, Any] = {"name": name}
        layer: Any = None
        if kind == "conv":
            kernel = draw(st.tuples(st.integers(1, min(3, h)), st.integers(1, min(3, w))))
            arguments |= {
                "padding": draw(st.sampled_from(["same", "valid"])),
                "strides": draw(few),
                "use_bias": draw(st.booleans()),
            }
            layer = layers.Conv2D(
                draw(st.integers(1, 5)), kernel, activation=draw(st.sampled_from([None, "tanh"])), **arguments
            )
        elif kind == "transposed" and h * w < 60:
            arguments |= {
                "padding": draw(st.sampled_from(["same", "valid"])),
                "strides": draw(st.integers(1, 2)),
                "use_bias": draw(st.booleans()),
            }
            layer = layers.Conv2DTranspose(draw(few), draw(few), **arguments)
        elif kind == "normalization":
            layer = layers.BatchNormalization(
                scale=draw(st.booleans()), center=draw(st.booleans()), **arguments
            )
        elif kind == "activation":
            layer = layers.Activation(
                draw(st.sampled_from(["tanh", "sigmoid", "softmax", "relu6"])), **arguments
            )
        elif kind == "average":
            layer = layers.AveragePooling2D(2, strides=draw(st.integers(1, 2)), padding="same", **arguments)
        elif kind == "up" and h * w < 30:
            layer = layers.UpSampling2D(
                (2, 1), interpolation=draw(st.sampled_from(["nearest", "bilinear"])), **arguments
            )
        elif kind == "depthwise":
            layer = layers.DepthwiseConv2D(
                2, padding="same", depth_multiplier=draw(st.integers(1, 2)), **arguments
            )
        elif kind == "frame":
            layer = draw(
                st.sampled_from(
                    [layers.ZeroPadding2D(1, **arguments), layers.Cropping2D(((0, 1), (1, 0)), **arguments)]
                )
            )
        elif kind == "add":
            layer = layers.Add(*draw(sources), **arguments)
        elif kind == "concatenate" and c < 12:
            layer = layers.Concatenate(*draw(sources), **arguments)
        if layer is None:
            continue
        model.add(layer)
        shape = outputs[name] = model.output_shape
        if min(shape) < 2:
            break
    if len(model.layers) == 0:
        model.add(layers.BatchNormalization())
    return model


@given(
    model=smooth_networks(),
    n=st.sampled_from([1, 2, 5, 17]),
    training=st.booleans(),
    threads=st.integers(1, 3),
)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
def test_outputs_and_gradients(model: models.Sequential, n: int, training: bool, threads: int) -> None:
    cnnlite.set_num_threads(threads)
    model = networks.scattered(model)
    x = networks.samples(model, n)
    wanted = outputs_of(model, x, training)[model.layers[-1].name].reshape(n, *model.output_shape)
    found = model.forward(x, training=training)
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-8)
    if not training:
        np.testing.assert_allclose(model.predict(x), wanted, rtol=1e-8, atol=1e-8)
    rng = np.random.default_rng(0)
    grad = rng.standard_normal(found.shape)
    model.zero_gradients()
    gradients = [model.backward(grad), *model.gradients]
    values = [x, *(parameter.numpy() for parameter in model.trainable_weights)]
    directions = [rng.standard_normal(value.shape) for value in values]
    moved = []
    for sign in (1, -1):
        at = [value + sign * EPS * way for value, way in zip(values, directions, strict=True)]
        for parameter, value in zip(model.trainable_weights, at[1:], strict=True):
            parameter.assign(value)
        stages_of = outputs_of(model, at[0], training)[model.layers[-1].name]
        moved.append(float((stages_of.reshape(found.shape) * grad).sum()))
    slope = (moved[0] - moved[1]) / (2 * EPS)
    shares = [float((g * way).sum()) for g, way in zip(gradients, directions, strict=True)]
    scale = 1 + max(abs(g).max() if g.size else 0 for g in gradients)
    np.testing.assert_allclose(sum(shares), slope, rtol=1e-5, atol=2e-5 * scale)


@pytest.mark.parametrize("name", networks.graphs())
def test_rooms_full_of_nan(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run reads of its rooms it has written before."""

    def computed(full: bool) -> list[np.ndarray]:
        cnnlite.set_num_threads(None)
        cnnlite.set_random_seed(0)
        if full:
            for module in (passes, programs):
                monkeypatch.setattr(module, "aligned_zeros", filled)
        model = networks.path(name)
        model.compile("sgd", "mse")
        n = 9
        x, y = networks.samples(model, n), np.zeros((n, *model.output_shape), "f")
        found = [model.predict(x)]
        for training in (False, True):
            cnnlite.set_random_seed(1)
            model.zero_gradients()
            model.forward(x, training=training)
            found += [model.backward(np.ones((n, *model.output_shape), "f")), *model.gradients]
        model.train_on_batch(x, y)
        return [*found, *model.get_weights()]

    def filled(count: int, dtype: Any) -> np.ndarray:
        room = aligned_zeros(count, dtype)
        if np.dtype(dtype) == np.uint8:
            room[:] = 0xFF
        return room

    wanted = computed(False)
    assert networks.same(computed(True), wanted)
