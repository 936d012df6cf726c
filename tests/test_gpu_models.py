"""Models on a GPU end with the CPU's weights. Without a GPU every test here is a visible skip; test_cuda_training.py has the
interpreter in its place.
"""

from __future__ import annotations

import threading

import networks
import numpy as np
import pytest

from cnnlite import optimizers
from cnnlite_kernels.cuda.driver import missing

MISSING = missing()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(MISSING is not None, reason=f"no GPU: {MISSING}"),
]
on_device = pytest.importorskip("on_device")
SPARSE = "sparse_categorical_crossentropy"


def labelled(
    shape: tuple[int, ...], classes: int, n: int, batches: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal((n, *shape)).astype(np.float32), rng.integers(0, classes, n))
        for _ in range(batches)
    ]


@pytest.mark.parametrize("n", [1, 32, 128])
def test_steps_of_the_documented_network(n: int) -> None:
    def sgd() -> optimizers.Optimizer:
        return optimizers.SGD(0.05, momentum=0.9)

    batches = labelled((28, 28, 1), 10, n, 3)
    cpu = on_device.train(networks.documented, "cpu", sgd, SPARSE, batches)
    gpu = on_device.train(networks.documented, "cuda", sgd, SPARSE, batches)
    np.testing.assert_allclose(gpu.reported, cpu.reported, rtol=1e-3, atol=1e-5)
    on_device.assert_close(gpu.weights, cpu.weights, 1e-3)
    again = on_device.train(networks.documented, "cuda", sgd, SPARSE, batches)
    assert networks.same(gpu.weights, again.weights), "the same bits every time"


@pytest.mark.parametrize("name", networks.paths())
def test_every_kind_of_network(name: str) -> None:
    cpu = networks.path(name)
    cpu.build()
    gpu = networks.path(name, device="cuda")
    gpu.set_weights(cpu.get_weights())
    x = networks.samples(cpu, 9)
    on_device.assert_close([gpu.predict(x)], [cpu.predict(x)])


@pytest.mark.parametrize("name", networks.graphs())
def test_every_kind_of_network_that_makes_images(name: str) -> None:
    """Predictions, passes in training and outside of it, and what a step leaves."""
    cpu, gpu = on_device.on_both(networks.path(name))
    x = networks.samples(cpu, 9)
    on_device.assert_close([gpu.predict(x)], [cpu.predict(x)], 1e-3)
    for training in (True, False):
        on_device.assert_close(
            on_device.passes(gpu, x, training), on_device.passes(cpu, x, training), 1e-3, least=1
        )
    for model in (cpu, gpu):
        model.compile(optimizers.SGD(0.01), "mse")
        model.train_on_batch(x, np.zeros((9, *model.output_shape)))
    on_device.assert_close(gpu.get_weights(), cpu.get_weights(), 1e-3, least=1)


def test_fit_with_dropout_runs_ahead_and_learns_what_the_cpu_learns() -> None:
    x, y = labelled((12, 12, 2), 3, 200, 1)[0]
    found = []
    for where in ("cpu", "cuda"):
        model = on_device.train(
            networks.with_dropout, where, optimizers.SGD, SPARSE, [(x[:32], y[:32])]
        ).model
        history = model.fit(x, y, batch_size=32, epochs=2, shuffle=False, verbose=0).history
        found.append([np.array(history["loss"]), *model.get_weights()])
    on_device.assert_close(*found, 1e-3)


def test_threads_predict_at_once() -> None:
    model = networks.documented(device="cuda")
    x = networks.samples(model, 40)
    expected = model.predict(x)
    wrong = []

    def work(first: int) -> None:
        for _ in range(50):
            if not networks.same([model.predict(x[first : first + 10])], [expected[first : first + 10]]):
                wrong.append(first)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 40, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
