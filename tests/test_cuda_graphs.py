"""Networks that make and edit images on a device: the CPU's outputs, gradients, moving averages and steps, in the interpreter of PTX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import networks
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from on_device import Counted, assert_close, device, interpreter, on_both, passes, train  # noqa: F401
from stand_in_driver import Driver
from test_random_graphs import smooth_networks

import cnnlite
from cnnlite import layers, models, optimizers
from cnnlite.engine.cuda import waiting
from cnnlite.layers import Add, BatchNormalization, Conv2D, Conv2DTranspose, Dense, MaxPooling2D
from cnnlite_kernels import precision
from cnnlite_kernels.cuda import gpu

pytestmark = pytest.mark.usefixtures("seeded", "device")


@pytest.mark.parametrize("name", networks.graphs())
def test_every_kind_of_network(name: str) -> None:
    cpu, gpu = on_both(networks.path(name))
    x = networks.samples(cpu, 3)
    assert_close([gpu.predict(x)], [cpu.predict(x)])
    normalizes = any(isinstance(layer, BatchNormalization) for layer in cpu.layers)
    for training in (True, False) if normalizes else (True,):
        assert_close(passes(gpu, x, training), passes(cpu, x, training), least=1)


@given(model=smooth_networks("float32"), n=st.integers(1, 3), training=st.booleans())
@settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck), derandomize=True)
def test_any_network_with_joins(model: models.Sequential, n: int, training: bool) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gpu, "current", interpreter)
        cpu, there = on_both(model)
        x = networks.samples(cpu, n)
        assert_close([there.predict(x)], [cpu.predict(x)])
        assert_close(passes(there, x, training), passes(cpu, x, training), 2e-3, least=1)


def test_the_comparison_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that takes the place of the one that waits, and is not added to it."""
    cpu, gpu = on_both(networks.path("residual"))
    x = networks.samples(cpu, 2)
    monkeypatch.setattr(waiting.Waiting, "has", lambda self, number: False)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_close(passes(gpu, x, True), passes(cpu, x, True), least=1)


def test_gradients_of_several_outputs() -> None:
    """They are added to those that come from above and from the side; outputs below the first have theirs too."""
    for wanted in (["a", "c", "d", ""], ["d", "b"], ["a"]):
        found = []
        for model in on_both(networks.path("residual")):
            names = [name or model.layers[-1].name for name in wanted]
            outputs = model.forward(networks.samples(model, 2), outputs=names)
            rng = np.random.default_rng(4)
            model.zero_gradients()
            grad_x = model.backward({name: rng.standard_normal(outputs[name].shape) for name in names})
            found.append([*outputs.values(), grad_x, *model.gradients])
        assert_close(*found, least=1)


@pytest.mark.parametrize("name", ["discriminator", "u-net", "residual"])
def test_the_input_gradient_without_those_of_weights(name: str) -> None:
    """The same bits; the gradients of weights stay what they were."""
    _, gpu = on_both(networks.path(name))
    grad = gpu.forward(networks.samples(gpu, 2), training=True)
    gpu.zero_gradients()
    through = gpu.backward(grad)
    gradients = gpu.gradients
    assert np.array_equal(gpu.backward(grad, weights=False), through)
    assert networks.same(gpu.gradients, gradients)


def test_pooling_a_relu_that_another_reads() -> None:
    """Pooling's own gradient may then not go through the relu early, and the gradient of another's reader is there before."""
    model = models.Sequential(
        [layers.Input((4, 4, 2)), Conv2D(3, 3, padding="same", activation="relu", name="r"), MaxPooling2D(1), Add("r")]
    )  # fmt: skip
    cpu, gpu = on_both(model)
    x = networks.samples(cpu, 2)
    assert_close(passes(gpu, x, True), passes(cpu, x, True))


# steps


def steps(name: str, count: int = 2) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches for a network, with targets of its output's shape."""
    model = networks.path(name)
    rng = np.random.default_rng(0)
    return [
        (networks.samples(model, 3, seed), rng.standard_normal((3, *model.output_shape)).astype(np.float32)) for seed in range(count)
    ]  # fmt: skip


def making(name: str, frozen: tuple[str, ...] = ()) -> Callable[..., models.Sequential]:
    def make(**arguments: Any) -> models.Sequential:
        model = networks.path(name, **arguments)
        for layer in model.layers:
            layer.trainable = layer.name not in frozen
        return model

    return make


@pytest.mark.parametrize(
    ("name", "frozen"),
    [("generator", ()), ("u-net", ()), ("residual", ("a", "b")), ("normalization alone", ()), ("slopes", ())],
)
def test_steps_of_training(name: str, frozen: tuple[str, ...]) -> None:
    """Frozen: the first normalization is an affine map, and so far down no gradient is needed."""
    batches = steps(name)
    cpu, gpu = (
        train(making(name, frozen), where, lambda: optimizers.SGD(0.1, momentum=0.9), "mse", batches, ())
        for where in ("cpu", "cuda")
    )
    np.testing.assert_allclose(gpu.reported, cpu.reported, rtol=1e-4)
    assert_close(gpu.weights, cpu.weights)
    assert_close(gpu.state, cpu.state, 1e-3)
    x, y = batches[0]
    np.testing.assert_allclose(
        gpu.model.evaluate(x, y, verbose=0), cpu.model.evaluate(x, y, verbose=0), rtol=1e-4
    )


def test_the_same_bits_every_time() -> None:
    runs = [
        train(making("generator"), "cuda", optimizers.Adam, "mse", steps("generator"), ()) for _ in range(2)
    ]
    assert networks.same(runs[0].weights, runs[1].weights)
    assert runs[0].reported == runs[1].reported


def test_moving_averages_follow_a_model_from_device_to_device() -> None:
    batches = steps("generator", 4)
    expected = train(making("generator"), "cpu", lambda: optimizers.Adam(0.01), "mse", batches, ())
    model = train(making("generator"), "cuda", lambda: optimizers.Adam(0.01), "mse", batches[:1], ()).model
    for where, (x, y) in zip(("cpu", "cuda:1", "cuda"), batches[1:], strict=True):
        model.to(where).train_on_batch(x, y)
    assert_close(model.get_weights(), expected.weights, 1e-3)


def test_moving_averages_stay_on_the_device(device: Counted) -> None:  # noqa: F811
    """A step or a pass moves a batch up and its results down; whoever reads the averages gets those of the last one."""
    x, y = steps("generator", 1)[0]
    model = train(making("generator"), "cuda", optimizers.Adam, "mse", [(x, y)], ()).model
    model.forward(x, training=True)
    device.forget()
    for _ in range(2):
        model.train_on_batch(x, y)
        model.forward(x, training=True)
    assert (device.uploads, device.runs, device.downloads, device.allocations) == (4, 4, 4, 0)
    averages = model.layers[1].moving_mean
    before = averages.numpy()
    model.forward(x, training=True)
    assert not np.array_equal(averages.numpy(), before)
    before = averages.numpy()
    model.forward(x), model.predict(x), model.evaluate(x, y, verbose=0)
    assert np.array_equal(averages.numpy(), before)


def test_a_network_without_anything_to_train_still_moves_the_averages() -> None:
    model = models.Sequential(
        [layers.Input((3,)), BatchNormalization(scale=False, center=False)], device="cuda"
    )
    model.compile("sgd", "mse")
    x = networks.samples(model, 8)
    model.train_on_batch(x, x)
    np.testing.assert_allclose(model.layers[0].moving_mean.numpy(), 0.01 * x.mean(axis=0), rtol=1e-5)


def test_a_normalization_of_two_models_on_two_devices() -> None:
    """A GAN's judge, trained by itself and frozen behind the one that makes what it judges."""

    def trained(first: str, second: str) -> list[np.ndarray]:
        cnnlite.set_random_seed(4)
        judge = [Dense(5, name="a"), BatchNormalization(momentum=0.5, name="b"), Dense(1, name="c")]
        alone = models.Sequential([layers.Input((6,)), *judge], device=first)
        made = [Dense(6, name="made"), BatchNormalization(momentum=0.5, name="norm")]
        behind = models.Sequential([layers.Input((3,)), *made, *judge], device=second)
        for model in (alone, behind):
            model.compile(optimizers.SGD(0.1), "mse")
        rng = np.random.default_rng(5)
        for _ in range(2):
            for layer in judge:
                layer.trainable = True
            alone.train_on_batch(rng.standard_normal((4, 6)), rng.integers(0, 2, (4, 1)))
            for layer in judge:
                layer.trainable = False
            behind.train_on_batch(rng.standard_normal((4, 3)), np.ones((4, 1)))
        return behind.get_weights()

    expected = trained("cpu", "cpu")
    assert_close(trained("cuda", "cuda"), expected)
    assert_close(trained("cuda", "cpu"), expected)


def test_transposed_convolutions_take_the_precision_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_precision", "float32")
    found = {}
    for own in (None, "bfloat16"):
        model = models.Sequential(
            [layers.Input((4, 4, 64)), Conv2DTranspose(64, 2, strides=2)], device="cuda", mixed_precision=own
        )
        x = networks.samples(networks.scattered(model), 4)
        y = model.forward(x)
        found[own] = [y, model.backward(y), model.gradients[0]]
    for exact, rounded in zip(found[None], found["bfloat16"], strict=True):
        far = np.abs(rounded - exact).max() / np.abs(exact).max()
        assert 1e-6 < far < 2**-7 * 4


def test_the_gpus_own_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step with normalization and joins is one graph, in which the host has no part, and asks for no memory."""
    driver = Driver()
    monkeypatch.setattr(gpu, "binary", driver.binary)
    found = gpu.Gpu(0, driver)
    monkeypatch.setattr(gpu, "current", lambda number=0: found)
    x, y = steps("residual", 1)[0]
    trained = train(making("residual"), "cuda", optimizers.SGD, "mse", [(x, y)], ())
    expected = train(making("residual"), "cpu", optimizers.SGD, "mse", [(x, y)], ())
    assert_close(trained.weights, expected.weights, least=1)
    trained.model.train_on_batch(x, y)  # it brings back up what the host has read
    driver.calls.clear()
    trained.model.train_on_batch(x, y)
    asked = [name for name in driver.calls if not name.startswith(("cuCtx", "cuEvent"))]
    assert asked == ["cuMemcpyHtoDAsync", "cuGraphLaunch", "cuMemcpyDtoHAsync"]
