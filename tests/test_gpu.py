"""On a GPU: the driver, copies, streams, graphs, and libraries that share memory with us. Without one every test here is a visible skip.

The ops themselves run on a GPU in tests/test_cuda_ops.py, beside the interpreter.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import runtime_programs

import cnnlite_kernels as kernels
from cnnlite_kernels import DeviceArray, costs, dispatch, reference
from cnnlite_kernels.cuda.driver import missing

MISSING = missing()
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(MISSING is not None, reason=f"no GPU: {MISSING}"),
]
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def device() -> Any:
    return dispatch.gpu("the tests", "cuda")


def draw(*shape: int) -> np.ndarray:
    """Small integers: sums of products are exact."""
    return RNG.integers(-4, 5, shape).astype(np.float32)


def test_it_says_what_it_is(device: Any) -> None:
    assert device.name
    assert device.multiprocessors > 0
    assert device.capability >= (7, 5)
    program = [sys.executable, "-m", "cnnlite", "devices"]
    said = subprocess.run(
        program,
        env=runtime_programs.environment_with(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert f"0: {device.name}" in said
    assert "cannot be used" not in said


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_copies_come_back(device: Any, dtype: type) -> None:
    for count in (1, 1000, 10_000_000):
        numbers = np.arange(count).astype(dtype)
        array = kernels.to_device(numbers)
        numbers_before = numbers.copy()
        numbers[:] = 0  # a copy from ordinary memory is done with it when it returns
        np.testing.assert_array_equal(array.copy_to_host(), numbers_before)


def test_page_locked_copies_run_beside_the_program(device: Any) -> None:
    host, back = device.host(10_000_000, np.float32), device.host(10_000_000, np.float32)
    host[:] = np.arange(10_000_000)
    there = device.empty(10_000_000, np.float32)
    device.upload(host, there)
    device.download(there, back)
    device.event().wait()
    np.testing.assert_array_equal(back, host)


def test_every_kernel_of_the_catalogue_loads_and_fits(device: Any) -> None:
    from cuda.bindings import driver

    from cnnlite_kernels.cuda.catalogue import CATALOGUE
    from cnnlite_kernels.cuda.driver import call

    registers = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_NUM_REGS
    spilled = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES
    for entry in CATALOGUE:
        if device.capability < min(entry.capabilities):
            continue
        with device.active():
            function = device._load(entry.make(), np.dtype(entry.dtype))
            assert call(driver.cuFuncGetAttribute, registers, function) <= entry.budget.registers, entry.name
            assert call(driver.cuFuncGetAttribute, spilled, function) == 0, entry.name


def test_a_second_process_compiles_nothing(tmp_path) -> None:
    code = (
        "import numpy as np, cnnlite_kernels as k\n"
        "from cnnlite_kernels.cuda.kernel import Kernel\n"
        "compiled = []\n"
        "ptx = Kernel.ptx\n"
        "Kernel.ptx = lambda self, *a: compiled.append(self.name) or ptx(self, *a)\n"
        "a = np.ones((64, 64), np.float32)\n"
        "assert (k.matmul(a, a, device='cuda') == 64).all()\n"
        "print(len(compiled))"
    )
    environment = runtime_programs.environment_with(CNNLITE_CACHE_DIR=str(tmp_path))
    compiled = [
        int(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout)
        for _ in range(2)
    ]  # fmt: skip
    assert compiled[0] > 0
    assert compiled[1] == 0


def test_results_repeat_bit_by_bit(device: Any) -> None:
    x, w = (
        kernels.to_device(RNG.standard_normal(shape, np.float32))
        for shape in ((8, 28, 28, 64), (3, 3, 64, 128))
    )
    y = kernels.conv2d(x, w, padding="same")
    results = [kernels.conv2d_grad_weights(x, y, w.shape, padding="same").copy_to_host() for _ in range(3)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_a_graph_is_what_its_launches_are(device: Any) -> None:
    from cnnlite_kernels.cuda.activations import add_forward
    from cnnlite_kernels.cuda.matmul import add_matmul
    from cnnlite_kernels.cuda.plan import Plan

    a, b = draw(256, 64), draw(64, 128)
    there, other = kernels.to_device(a), kernels.to_device(b)
    product = DeviceArray.empty(device, (256, 128), np.float32)
    plan = Plan(device)
    add_matmul(plan, there.flat, other.flat, product.flat, 256, 128, 64)
    add_forward(plan, "relu", product.flat, product.flat, 256, 128)
    run = plan.graph()
    for sign in (1, -1):
        device.upload((sign * a).ravel(), there.flat)
        run()
        np.testing.assert_array_equal(product.copy_to_host(), np.maximum(sign * a @ b, 0))
    del run, plan
    gc.collect()
    device.synchronize()


def test_events_count_time(device: Any) -> None:
    a = kernels.to_device(draw(2048, 2048))
    kernels.matmul(a, a)
    begun = device.event()
    for _ in range(10):
        kernels.matmul(a, a)
    assert 1e-5 < device.event().seconds_since(begun) < 60


def test_threads_share_the_gpu() -> None:
    operands = [(draw(64, 64), draw(64, 64)) for _ in range(8)]
    wrong: list[int] = []

    def work(number: int) -> None:
        a, b = operands[number]
        there = kernels.to_device(a)
        for _ in range(50):
            if not np.array_equal(kernels.matmul(there, b).copy_to_host(), a @ b):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(operands))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_past_2_to_the_31_elements(device: Any) -> None:
    count = 2**31 + 100
    from cnnlite_kernels.cuda.activations import add_fill
    from cnnlite_kernels.cuda.plan import Plan

    try:
        x = DeviceArray.empty(device, (count,), np.float32)
    except MemoryError as problem:
        pytest.skip(str(problem))
    plan = Plan(device)
    add_fill(plan, x.flat, count, -1)
    plan.run()
    kernels.relu(x, out=x)
    for part in (x.flat[:100], x.flat[count - 100 :]):
        host = np.empty(100, np.float32)
        device.download(part, host)
        device.synchronize()
        assert not host.any()


def test_full_memory_is_an_error_and_no_more(device: Any) -> None:
    with pytest.raises(MemoryError, match=r"^the GPU's memory is full; use a smaller batch"):
        device.empty(1 << 50, np.uint8)
    assert kernels.relu(draw(10), device="cuda").shape == (10,)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_is_told_that_it_cannot_use_the_gpu(device: Any) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            assert kernels.relu(np.ones(3, np.float32), device="auto").sum() == 3
            kernels.relu(np.ones(3, np.float32), device="cuda")
        except BaseException as problem:
            os.write(writer, str(problem).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        assert "multiprocessing's spawn" in pipe.read()


def test_auto_explains_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        costs, "current", lambda: (costs.defaults()._replace(cpu_operations=4e11), "of 8 cores")
    )
    assert dispatch.why_not() is None
    assert kernels.explain("matmul", (4, 4), (4, 4)).device == "cpu"
    assert kernels.explain("matmul", (8192, 8192), (8192, 8192)).device == "cuda"


def test_the_documented_network_trains_as_on_the_cpu() -> None:
    from networks import documented

    rng = np.random.default_rng(0)
    x, y = rng.random((32, 28, 28, 1), np.float32), rng.integers(0, 10, 32)
    here, there = documented(), documented().to("cuda")
    for model in (here, there):
        model.compile("adam", "sparse_categorical_crossentropy")
        model.predict(x)
    there.set_weights(here.get_weights())
    for _ in range(3):
        np.testing.assert_allclose(there.train_on_batch(x, y), here.train_on_batch(x, y), rtol=1e-3)


# other libraries


def test_numba() -> None:
    from numba import cuda

    x = draw(5, 7)
    np.testing.assert_array_equal(kernels.relu(cuda.to_device(x)).copy_to_host(), np.maximum(x, 0))
    y = kernels.relu(cuda.to_device(x)[1:, ::2])
    np.testing.assert_array_equal(cuda.as_cuda_array(y).copy_to_host(), np.maximum(x[1:, ::2], 0))


def test_torch() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    x, w = draw(2, 9, 8, 5), draw(3, 3, 5, 7)
    expected = reference.conv2d(x, w)
    y = kernels.conv2d(torch.from_numpy(x).cuda(), torch.from_numpy(w).cuda())
    assert isinstance(y, DeviceArray)
    back = torch.from_dlpack(y)
    assert back.data_ptr() == y.flat.address
    np.testing.assert_array_equal(back.cpu().numpy(), expected)
    channels_first = torch.from_numpy(x).cuda().permute(0, 3, 1, 2).contiguous()
    turned = kernels.conv2d(channels_first.permute(0, 2, 3, 1), w)  # not contiguous: copied on the GPU
    np.testing.assert_array_equal(turned.copy_to_host(), expected)
    out = torch.empty(expected.shape, device="cuda")
    kernels.conv2d(torch.from_numpy(x).cuda(), w, out=out)
    np.testing.assert_array_equal(out.cpu().numpy(), expected)


def test_torch_streams_are_waited_for() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for number in range(20):
            x = torch.zeros(1 << 24, device="cuda")
            for _ in range(10):
                x += 1
            y = torch.from_dlpack(kernels.relu(x + number))
            assert bool((y == 10 + number).all())


def test_cupy() -> None:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    x = draw(2, 8, 6, 3)
    y = kernels.max_pool2d(cupy.asarray(x), 2)
    back = cupy.asarray(y)
    assert back.data.ptr == y.flat.address
    np.testing.assert_array_equal(back.get(), reference.max_pool2d(x, 2))
    np.testing.assert_array_equal(
        kernels.relu(cupy.asarray(x)[:, ::-1, ::2]).copy_to_host(), np.maximum(x[:, ::-1, ::2], 0)
    )


def test_memory_given_away_outlives_us(device: Any) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU")
    tensor = torch.from_dlpack(kernels.to_device(np.full(1000, 3, np.float32)))
    gc.collect()
    for _ in range(10):
        kernels.to_device(np.zeros(1000, np.float32))
    assert float(tensor.sum()) == 3000
