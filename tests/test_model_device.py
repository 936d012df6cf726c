"""Numbers with several places, who has the newest, and the names of devices that models know."""

from __future__ import annotations

import copy
from typing import Any

import networks
import numpy as np
import pytest

import cnnlite
from cnnlite import layers, models, optimizers
from cnnlite.mirrored import Mirrored
from cnnlite_kernels import dispatch

pytestmark = pytest.mark.usefixtures("seeded")


class Memory:
    """A device that only copies, and counts the numbers that were copied."""

    def __init__(self) -> None:
        self.up = self.down = 0

    def empty(self, count: int, dtype: Any) -> np.ndarray:
        return np.full(count, np.nan, dtype)

    def upload(self, host: np.ndarray, to: np.ndarray) -> None:
        self.up += host.size
        to[:] = host

    def download(self, array: np.ndarray, to: np.ndarray) -> None:
        self.down += array.size
        to[:] = array

    def synchronize(self) -> None:
        """Copies are done when they return."""

    def moved(self) -> tuple[int, int]:
        """Numbers copied up and down since the last call."""
        moved, self.up, self.down = (self.up, self.down), 0, 0
        return moved


# numbers with several places


def test_a_device_gets_the_numbers_once() -> None:
    numbers, device = Mirrored(4, np.float32), Memory()
    numbers.write(0, [1, 2, 3, 4])
    there = numbers.on(device)
    assert there.tolist() == [1, 2, 3, 4]
    assert numbers.on(device) is there
    assert device.moved() == (4, 0)


def test_the_host_gets_what_a_device_changed_once() -> None:
    numbers, device = Mirrored(3, np.float32), Memory()
    here = numbers.host
    numbers.on(device)[:] = [7, 8, 9]
    assert numbers.host.tolist() == [0, 0, 0], "nobody has said that they changed"
    numbers.changed(device)
    assert numbers.device is device
    assert numbers.host.tolist() == [7, 8, 9]
    assert numbers.host is here, "programs keep its address"
    assert numbers.device is None
    assert device.moved() == (3, 3)


def test_what_is_written_goes_to_the_places_that_are_up_to_date() -> None:
    numbers, device = Mirrored(6, np.float32), Memory()
    numbers.write(2, [1, 2])
    assert device.moved() == (0, 0)
    there = numbers.on(device)
    numbers.write(0, [5])
    assert device.moved() == (6 + 1, 0), "both have the newest: both are changed"
    numbers.changed(device)
    numbers.write(5, [9])
    assert device.moved() == (1, 0), "the host's are old: they are not fetched for this"
    assert there.tolist() == numbers.host.tolist() == [5, 0, 1, 2, 0, 9]
    assert device.moved() == (0, 6)


def test_two_devices_and_the_host_always_see_the_last_change() -> None:
    numbers, first, second = Mirrored(2, np.float32), Memory(), Memory()
    numbers.on(first)[:] = 1
    numbers.changed(first)
    assert numbers.on(second).tolist() == [1, 1], "through the host"
    numbers.on(second)[:] = 2
    numbers.changed(second)
    assert numbers.on(first).tolist() == [2, 2]
    numbers.host[:] = 3
    numbers.changed()
    assert numbers.on(first).tolist() == numbers.on(second).tolist() == [3, 3]
    assert numbers.version == 3


def test_a_copy_is_on_the_host_alone() -> None:
    numbers, device = Mirrored(2, np.float64), Memory()
    numbers.on(device)[:] = 4
    numbers.changed(device)
    copied = copy.deepcopy(numbers)
    assert copied.host.tolist() == [4, 4]
    assert copied.device is None
    assert copied.host.ctypes.data % 64 == 0
    copied.write(0, [5])
    assert numbers.host.tolist() == [4, 4]


def test_no_numbers_at_all() -> None:
    numbers, device = Mirrored(0, np.float32), Memory()
    assert numbers.on(device).size == numbers.host.size == 0
    numbers.write(0, [])
    numbers.changed(device)
    assert numbers.host.size == 0


# parameters, gradients, the optimizer's state


def held() -> tuple[models.Sequential, Any, Memory]:
    """A small model and its store, with the newest weights on a device."""
    model, device = networks.small(), Memory()
    store = model.weights[0].store
    store.values.on(device)
    store.values.changed(device)
    device.moved()
    return model, store, device


def test_weights_are_read_once_after_a_device_has_changed_them() -> None:
    model, store, device = held()
    model.get_weights()
    model.get_weights()
    assert np.asarray(model.weights[1]).shape == (5,)
    assert device.moved() == (0, store.values.size)


def test_assigning_copies_what_was_assigned() -> None:
    model, store, device = held()
    bias = model.weights[1]
    bias.assign(np.arange(5.0))
    assert device.moved() == (5, 0)
    there = store.values.on(device)
    assert there[bias.offset : bias.offset + 5].tolist() == [0, 1, 2, 3, 4] == bias.value.tolist()


def test_the_cpu_predicts_and_trains_with_what_a_device_has_changed() -> None:
    model, store, device = held()
    x = networks.samples(model, 4)
    before = model.predict(x)
    store.values.on(device)[:] *= 2
    store.values.changed(device)
    after = model.predict(x)
    assert not np.allclose(before, after)
    doubled = networks.small()
    doubled.set_weights(model.get_weights())
    np.testing.assert_array_equal(doubled.predict(x), after)
    model.compile("sgd", "mse")
    store.values.on(device)[:] *= 0.5
    store.values.changed(device)
    half = [weights / 2 for weights in doubled.get_weights()]
    model.train_on_batch(x, np.zeros((4, 3)))
    doubled.set_weights(half)
    doubled.compile("sgd", "mse")
    doubled.train_on_batch(x, np.zeros((4, 3)))
    assert networks.same(model.get_weights(), doubled.get_weights())


def test_gradients_on_a_device() -> None:
    model, store, device = held()
    there = store.grads.on(device)
    there[:] = 3
    store.grads.changed(device)
    device.moved()
    assert all((gradient == 3).all() for gradient in model.gradients)
    assert device.moved() == (0, store.grads.size)
    kernel = model.weights[0]
    kernel.gradient[0] = 7  # a view that may be written to: the device's are old from here on
    assert store.grads.on(device)[kernel.offset] == 7
    store.grads.changed(device)
    device.moved()
    model.zero_gradients()
    assert device.moved() == (sum(parameter.size for parameter in model.weights), 0)
    assert not any(gradient.any() for gradient in model.gradients)


def test_state_of_an_optimizer() -> None:
    model = networks.small()
    optimizer, device = optimizers.Adam(), Memory()
    optimizer.build(model.weights)
    (kernel, bias, *_) = model.weights
    for slot in optimizer.state:
        slot.on(device)[:] = 2
        slot.changed(device)
    device.moved()
    m, v = optimizer.state_of(kernel)
    assert np.array_equal(m, np.full((6, 5), 2))
    assert np.array_equal(v, m)
    assert device.moved() == (0, 2 * optimizer.layout.size)
    with pytest.raises(ValueError, match="read-only"):
        m[0] = 1
    optimizer.set_state(bias, [np.full(5, 4.0), np.full(5, 5.0)])
    assert device.moved() == (10, 0), "the host and the device have them: both get the new ones"
    for slot in optimizer.state:
        slot.changed(device)
    optimizer.build([bias])
    assert [slot.tolist() for slot in optimizer.state_of(bias)] == [[4.0] * 5, [5.0] * 5]
    assert optimizer.state_of(kernel)[0].max() == 2, "kept for when the kernel is trained again"


# names of devices


def test_models_know_their_device() -> None:
    assert networks.small().device is None
    model = networks.small(device="cpu")
    assert model.device == "cpu"
    assert model.to("cpu") is model
    assert model.to(None) is model
    assert model.device is None


def test_auto_is_the_cpu_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "usable", lambda: False)
    model = networks.small(device="auto")
    assert model.predict(networks.samples(model, 2)).shape == (2, 3)
    assert model.device == "auto"


@pytest.mark.parametrize("device", ["tpu", "cuda:", "gpu", 0, "cpu:1"])
def test_unknown_devices(device: Any) -> None:
    message = r'expected device None, "auto", "cpu", "cuda" or "cuda:N", got '
    with pytest.raises(ValueError, match=f"^Sequential: {message}"):
        models.Sequential(device=device)
    model = networks.small(name="mine", device="cpu")
    with pytest.raises(ValueError, match=f"^mine: {message}"):
        model.to(device)
    assert model.device == "cpu"
    assert model.predict(networks.samples(model, 2)).shape == (2, 3)


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str, device: str, number: int | None = None) -> Any:
        raise dispatch.no_gpu(name, f'device "{device}"', "something is missing")

    monkeypatch.setattr(dispatch, "gpu", none)
    message = 'expected a GPU for device "cuda:1", but something is missing; or pass device="cpu"'
    with pytest.raises(RuntimeError, match=f"^Sequential: {message}"):
        networks.small(device="cuda:1")
    model = networks.small(name="mine")
    with pytest.raises(RuntimeError, match=f"^mine: {message}"):
        model.to("cuda:1")


def test_float64_stays_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "gpu", lambda name, device, number=None: Memory())
    monkeypatch.setattr(dispatch, "usable", lambda: True)
    message = 'expected dtype float32 for device "cuda", got float64; .* or use device="cpu"'
    with pytest.raises(TypeError, match=f"^Sequential: {message}"):
        networks.small(dtype="float64", device="cuda")
    model = networks.small(name="mine", dtype="float64")
    with pytest.raises(TypeError, match=f"^mine: {message}"):
        model.to("cuda")
    assert model.to("auto").predict(networks.samples(model, 2)).dtype == np.float64


def test_a_saved_model_does_not_remember_its_device(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "gpu", lambda name, device, number=None: Memory())
    cnnlite.set_random_seed(0)
    model = models.Sequential([layers.Input((6,)), layers.Dense(3)], device="cuda:1")
    model.save(tmp_path / "model")
    assert models.load_model(tmp_path / "model").device is None
    assert models.Sequential.from_config(model.get_config()).device is None
    assert copy.deepcopy(model).device == "cuda:1"


# memory


def test_where_memory_is_full_programs_of_other_batches_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    model = networks.small()
    x = networks.samples(model, 5)
    expected = model.predict(x)
    kept = model.network._programs
    engine = model.network._engine
    predict = engine.predict

    def full(stages: Any, n: int) -> Any:
        if any(kept.values()):
            raise MemoryError
        return predict(stages, n)

    monkeypatch.setattr(engine, "predict", full)
    assert networks.same([model.predict(x[:3])], [expected[:3]])

    def never(stages: Any, n: int) -> Any:
        raise MemoryError("the GPU's memory is full")

    monkeypatch.setattr(engine, "predict", never)
    with pytest.raises(MemoryError, match="memory is full"):
        model.predict(x[:2])
