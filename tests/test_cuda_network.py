"""Networks on a device: the CPU's outputs, gradients and masks, in the interpreter of PTX."""

from __future__ import annotations

from typing import Any

import networks
import numpy as np
import pytest
from on_device import Counted, assert_close, device  # noqa: F401

import cnnlite
from cnnlite import layers, models
from cnnlite.models import inference
from cnnlite_kernels import precision

pytestmark = pytest.mark.usefixtures("seeded", "device")


def twins(name: str) -> tuple[models.Sequential, models.Sequential]:
    """A network of `networks.paths` on the CPU, and with the same weights on the device."""
    found = []
    for where in ("cpu", "cuda"):
        cnnlite.set_random_seed(1)
        found.append(networks.path(name, device=where))
        found[-1].build()
    return found[0], found[1]


def passes(model: models.Sequential, x: np.ndarray, times: int = 1, **arguments: Any) -> list[np.ndarray]:
    """[output, gradient of x, gradients of the weights], dropout dropping."""
    cnnlite.set_random_seed(2)
    y = model.forward(x, training=True, **arguments)
    grad_y = np.random.default_rng(3).standard_normal(y.shape).astype(np.float32)
    model.zero_gradients()
    for _ in range(times):
        grad_x = model.backward(grad_y)
    return [y, grad_x, *model.gradients]


@pytest.mark.parametrize("name", networks.paths())
def test_every_kind_of_network(name: str) -> None:
    cpu, gpu = twins(name)
    x = networks.samples(cpu, 3)
    assert_close([gpu.predict(x)], [cpu.predict(x)])
    assert_close(passes(gpu, x), passes(cpu, x))


def test_masks_are_the_cpus() -> None:
    cpu, gpu = twins("dropout alone")
    x = networks.samples(cpu, 9)
    assert networks.same(passes(gpu, x), passes(cpu, x))


def test_backward_passes_add_up_and_repeat_bit_for_bit() -> None:
    _, gpu = twins("dropout")
    x = networks.samples(gpu, 3)
    once, twice = passes(gpu, x), passes(gpu, x, times=2)
    assert networks.same(once[:2], twice[:2])
    assert_close([2 * gradient for gradient in once[2:]], twice[2:], 1e-6)
    assert networks.same(once, passes(gpu, x))


def test_outputs_of_layers_and_gradients_of_several() -> None:
    found = []
    for model in twins("pooling without relu"):
        names = [model.layers[0].name, model.layers[1].name, model.layers[-1].name]
        outputs = model.forward(networks.samples(model, 3), outputs=names)
        rng = np.random.default_rng(4)
        model.zero_gradients()
        grad_x = model.backward({name: rng.standard_normal(outputs[name].shape) for name in names})
        found.append([*(outputs[name] for name in names), grad_x, *model.gradients])
    assert_close(*found)


def test_a_gradient_of_what_pooling_pools() -> None:
    """It is added before the relu, which pooling's own gradient then may not go through early."""
    found = []
    for model in twins("unpooled, one channel"):
        conv, pool = model.layers[0].name, model.layers[1].name
        outputs = model.forward(networks.samples(model, 2), outputs=[conv, pool])
        rng = np.random.default_rng(4)
        model.zero_gradients()
        given = {name: rng.standard_normal(outputs[name].shape) for name in (conv, pool)}
        found.append([model.backward(given), *model.gradients])
    assert_close(*found)


def test_frozen_layers_have_no_gradient() -> None:
    found = []
    for model in twins("lists with padding"):
        model.layers[2].trainable = False
        found.append(passes(model, networks.samples(model, 2)))
        assert len(model.gradients) == 4
    assert_close(*found)


def test_batches_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "AT_ONCE", 4)
    cpu, gpu = twins("softmax inside")
    x = networks.samples(cpu, 22)
    for rows in (x[:0], x[:1], x[:11], x[::2], x[:10].astype(np.float64), x[:3].tolist()):
        assert_close([gpu.predict(rows)], [cpu.predict(rows)])
    assert_close([gpu.predict_on_batch(x[:5])], [cpu.predict(x[:5])])
    assert_close([gpu(x[:2])], [cpu.predict(x[:2])])


def test_weights_go_up_once_and_memory_is_taken_once(device: Counted) -> None:  # noqa: F811
    _, gpu = twins("softmax inside")
    x = networks.samples(gpu, 5)
    gpu.predict(x)
    device.forget()
    gpu.predict(x + 1)
    assert (device.uploads, device.runs, device.downloads, device.allocations) == (1, 1, 1, 0)
    gpu.layers[0].bias.assign(np.ones(4))
    device.forget()
    gpu.predict(x)
    assert (device.uploads, device.downloads) == (1, 1), "the bias went up by itself when it was assigned"


def test_many_samples_are_copied_while_the_device_works(
    monkeypatch: pytest.MonkeyPatch,
    device: Counted,  # noqa: F811
) -> None:
    monkeypatch.setattr(inference, "AT_ONCE", 4)
    cpu, gpu = twins("softmax inside")
    x = networks.samples(cpu, 14)
    expected = cpu.predict(x)
    assert_close([gpu.predict(x)], [expected])
    assert device.order == ["run", "run", "wait", "run", "wait", "wait", "run", "wait"]
    assert_close([gpu.predict(x[:8])], [expected[:8]])


def test_passes_move_each_number_once(device: Counted) -> None:  # noqa: F811
    _, gpu = twins("dropout")
    x = networks.samples(gpu, 2)
    y = gpu.forward(x, training=True)
    gpu.backward(y)
    device.forget()
    gpu.forward(x, training=True)
    assert (device.uploads, device.runs, device.downloads, device.allocations) == (1, 1, 1, 0)
    gpu.backward(y)
    assert (device.uploads, device.runs, device.downloads, device.allocations) == (2, 2, 2, 0)


def test_moving_a_model() -> None:
    cnnlite.set_random_seed(1)
    model = networks.path("softmax inside")
    x = networks.samples(model, 3)
    expected = model.predict(x)
    assert model.to("cuda") is model
    assert_close([model.predict(x)], [expected])
    model.forward(x)
    model.to("cpu")
    with pytest.raises(RuntimeError, match="expected a forward pass before it"):
        model.backward(expected)
    assert networks.same([model.predict(x)], [expected])


def test_auto_takes_the_gpu(monkeypatch: pytest.MonkeyPatch, device: Counted) -> None:  # noqa: F811
    from cnnlite_kernels import dispatch

    monkeypatch.setattr(dispatch, "usable", lambda: True)
    model = networks.small(device="auto")
    model.predict(networks.samples(model, 2))
    assert device.runs == 1


def test_the_documented_network() -> None:
    cnnlite.set_random_seed(1)
    cpu = networks.documented()
    cpu.build()
    gpu = networks.documented(device="cuda")
    gpu.set_weights(cpu.get_weights())
    x = networks.samples(cpu, 2)
    assert_close([gpu.predict(x)], [cpu.predict(x)])


def test_layers_that_two_devices_share() -> None:
    shared = layers.Dense(4, activation="relu", input_shape=(3,))
    on_cpu = models.Sequential([shared, layers.Dense(2)])
    on_gpu = models.Sequential([shared, layers.Dense(2)], device="cuda")
    on_cpu.build()
    on_gpu.build()
    on_gpu.layers[1].set_weights(on_cpu.layers[1].get_weights())
    x = networks.samples(on_cpu, 4)
    for change in (0.5, -2.0):
        shared.set_weights([change * weights for weights in shared.get_weights()])
        assert_close([on_gpu.predict(x)], [on_cpu.predict(x)])


def test_precision_counts_from_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs for other roundings are other programs: nothing has to be made anew."""
    monkeypatch.setattr(precision, "_precision", "float32")
    model = models.Sequential([layers.Input((64,)), layers.Dense(64)], device="cuda")
    x = networks.samples(model, 64)
    exact = model.predict(x)
    precision.set_matmul_precision("bfloat16")
    rounded = model.predict(x)
    assert 1e-4 < np.abs(rounded - exact).max() < 2**-7 * np.abs(exact).max() * 4
    precision.set_matmul_precision("float32")
    assert networks.same([model.predict(x)], [exact])


def test_a_models_own_precision_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward, backward and training steps in bfloat16, whatever is set for all; another model's products stay exact."""
    monkeypatch.setattr(precision, "_precision", "float32")
    found = {}
    for own in (None, "bfloat16"):
        cnnlite.set_random_seed(1)
        model = models.Sequential(
            [layers.Input((64,)), layers.Dense(64), layers.Dense(64)], device="cuda", mixed_precision=own
        )
        x = networks.samples(model, 64)
        y = model.forward(x)
        found[own] = [model.predict(x), y, model.backward(y), *model.gradients]
        precision.set_matmul_precision("tf32" if own else "float32")
        assert networks.same([model.predict(x)], found[own][:1]), (
            "its own precision goes before the one for all"
        )
        precision.set_matmul_precision("float32")
        model.compile("sgd", "mse")
        model.train_on_batch(x, x)
        found[own] += model.get_weights()
    for exact, rounded in zip(found[None], found["bfloat16"], strict=True):
        far = np.abs(rounded - exact).max() / np.abs(exact).max()
        assert far < 2**-7 * 4
        assert far > 1e-6
    assert precision.get_matmul_precision() == "float32"


def test_a_gpu_without_tensor_cores_for_it_is_told_of(
    device: Counted,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "capability", (7, 5))
    model = networks.path("softmax inside", device="cuda", mixed_precision="bfloat16")
    x = networks.samples(model, 3)
    with pytest.warns(
        UserWarning, match=r"capability 8\.0 and up for bfloat16, got 7\.5; models compute in float32"
    ):
        model.predict(x)
