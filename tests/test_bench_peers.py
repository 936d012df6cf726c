"""The rows of bench/compare_peers.py: who is better, what is said of it, and the peers that are written here themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peers import (
    installed_size,
    loops,
    networks,
    numpy_worker,
    op_rows,
    operands,
    ops_cnnlite,
    results,
    rows,
    table,
)
from peers.driver import PEERS, Figure
from peers.operands import ConvInputs

from cnnlite_kernels import reference

BATCH, SIZE, CIN, COUT = 2, 6, 3, 4


def judged(
    ours: float, *others: float, bar: float | None = None, most: float | None = None
) -> results.Result:
    """Of images a second, or of seconds where `most` is given."""
    names = ["torch", "tf"][: len(others)]
    figures = {"cnnlite": Figure("cnnlite", [ours])}
    figures |= {name: Figure(name, [value]) for name, value in zip(names, others, strict=True)}
    row = results.Result("a", "a", unit="images/s" if most is None else "s")
    return results.judged(row, figures, names, bar, most)


def whole(*shape: int) -> Any:
    return np.random.default_rng(len(shape) + shape[0]).integers(-3, 4, shape).astype(np.float32)


@pytest.fixture
def python_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loops as Python runs them: nothing is compiled."""
    for name in (
        "conv2d",
        "conv2d_grad_input",
        "conv2d_grad_weights",
        "matmul",
        "max_pool2d",
        "max_pool2d_grad",
    ):
        monkeypatch.setattr(loops, name, getattr(loops, name).py_func)


@pytest.mark.parametrize(("bar", "verdict"), [(1.5, "met"), (2.5, "missed"), (None, "ahead")])
def test_the_verdict_is_about_the_best_of_the_others(bar: float | None, verdict: str) -> None:
    row = judged(1e-3, 4e-3, 2e-3, bar=bar)
    assert (row.ratio, row.verdict) == (2.0, verdict)
    assert row.others == ["Keras-TensorFlow 500 images/s", "PyTorch 250 images/s"]
    assert row.best_other is not None
    assert row.best_other.peer == "tf"


def test_a_row_that_loses_says_so() -> None:
    assert judged(2e-3, 1e-3).verdict == "behind"
    assert judged(2.0, 1.0, most=3.0).verdict == "met"
    lost = judged(4.0, 1.0, most=3.0)
    assert (lost.verdict, lost.bar, lost.ratio) == ("missed", "under 3.00 s", 0.25)


def test_nobody_to_compare_with() -> None:
    assert judged(1e-3).verdict == "nothing to compare with"
    missing = {"cnnlite": Figure("cnnlite", [1e-3]), "torch": Figure("torch", missing="absent")}
    row = results.judged(results.Result("a", "a", unit="images/s"), missing, ["torch"], 1.0)
    assert row.verdict == "nothing to compare with"
    missing["tf"] = Figure("tf", [1e-3])
    row = results.judged(results.Result("a", "a", unit="images/s"), missing, ["torch", "tf"], 1.0)
    assert row.verdict == "met (without PyTorch)"
    missing["cnnlite"] = Figure("cnnlite", missing="failed: a")
    row = results.judged(results.Result("a", "a", unit="images/s"), missing, ["torch", "tf"], 1.0)
    assert (row.ours, row.verdict) == ("failed: a", "not measured")


def test_two_ways_of_one_library_in_a_row() -> None:
    figures = {
        "cnnlite": Figure("cnnlite", [0.5]),
        "torch eager": Figure("torch", [1.0], note="eager"),
        "torch compiled": Figure("torch", [9.0], note="compiled"),
        "jax": Figure("jax", missing="absent"),
    }
    row = results.judged(results.Result("a", "start", unit="s"), figures, list(figures)[1:], most=1.0)
    text = table.by_library([row])
    assert "1.00 s (eager); 9.00 s (compiled)" in text
    assert "start" in table.headline([row])
    assert "Keras-JAX absent" in row.others


def test_every_row_asks_known_peers_and_sweeps_follow_each_other() -> None:
    for row in rows.ROWS.values():
        assert set(row.against) | set(row.shown) <= set(PEERS)
        assert row.unit in results.UNITS
    sweeps = [row.sweep for row in rows.ROWS.values() if row.sweep]
    assert sweeps == sorted(sweeps, key=list(dict.fromkeys(sweeps)).index)
    assert [row.size for row in rows.ROWS.values() if row.sweep] == [8, 32, 128, 512, 1, 8, 32, 256, 1024]


def op_answers() -> dict[str, tuple[Any, Any]]:
    """What each op of the rows of single ops must give, and its gradient with respect to x."""
    shape = (2, 4, 6, 8)
    at = {
        op: operands.op_inputs({"shape": shape, "y_shape": op_rows.y_shape(op, shape)}) for op in op_rows.OPS
    }
    norm, slopes, slope = at["batch_norm"], at["prelu"], operands.SLOPE
    _, mean, variance = reference.batch_normalization_train(norm.x)
    same = {"strides": 2, "padding": "same"}
    return {
        "batch_norm": (
            reference.batch_normalization_train(norm.x, norm.gamma, norm.beta)[0],
            reference.batch_normalization_grad(norm.grad_y, norm.x, mean, variance, norm.gamma)[0],
        ),
        "average_pool": (
            reference.average_pool2d(at["average_pool"].x, 2),
            reference.average_pool2d_grad(at["average_pool"].grad_y, shape, 2),
        ),
        "min_pool": (
            reference.min_pool2d(at["min_pool"].x, 2),
            reference.min_pool2d_grad(at["min_pool"].grad_y, at["min_pool"].x, 2),
        ),
        **{
            how: (
                reference.up_sampling2d(at[how].x, 2, interpolation=how),
                reference.up_sampling2d_grad(at[how].grad_y, 2, interpolation=how),
            )
            for how in ("nearest", "bilinear")
        },
        "leaky_relu": (
            reference.leaky_relu(at["leaky_relu"].x, slope),
            reference.leaky_relu_grad(at["leaky_relu"].grad_y, at["leaky_relu"].x, slope),
        ),
        "prelu": (
            reference.prelu(slopes.x, slopes.beta.reshape(1, 1, -1)),
            reference.prelu_grad(slopes.grad_y, slopes.x, slopes.beta.reshape(1, 1, -1))[0],
        ),
        "transpose": (
            reference.conv2d_transpose(at["transpose"].x, at["transpose"].w, y_size=(8, 12), **same),
            reference.conv2d(at["transpose"].grad_y, at["transpose"].w, **same),
        ),
    }


def test_single_ops_give_the_references_answer() -> None:
    """Before peers are asked whether they agree."""
    answers = op_answers()
    assert list(answers) == list(op_rows.OPS) == list(ops_cnnlite.OPS)
    for _, asked in op_rows.requests().values():
        op, shape = asked["op"], (2, 4, 6, 8)
        small = {**asked, "shape": shape, "y_shape": op_rows.y_shape(op, shape)}
        found = ops_cnnlite.op(small).answer()  # type: ignore[misc]
        wanted = answers[op][asked["pass"] == "grad"]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4, err_msg=f"{op} {asked['pass']}")


def test_a_table_of_a_sweep() -> None:
    found = [judged(1e-3, 2e-3), judged(1e-4, 4e-4, 2e-4, bar=1.5)]
    for row, size in zip(found, (8, 128), strict=True):
        row.sweep, row.size = "training", size
    (text,) = table.every_library(found)
    assert text.startswith("### Training, over batch sizes")
    lines = text.splitlines()[2:]
    del lines[1]
    names = ["library", "cnnlite", "Keras-TensorFlow", "PyTorch", "ratio to the best other", "verdict"]
    assert [line.split("|")[1].strip() for line in lines] == names
    assert "met (1.5x)" in lines[-1]


@pytest.mark.parametrize("strides", [(1, 1), (2, 1)])
def test_numpys_ways_to_convolve(strides: tuple[int, int]) -> None:
    x, w = whole(BATCH, SIZE, SIZE + 1, CIN), whole(3, 2, CIN, COUT)
    wanted = reference.conv2d(x, w, strides=strides)
    for name, way in numpy_worker.ways(images=1).items():
        np.testing.assert_allclose(way(x, w, strides), wanted, atol=1e-4, err_msg=name)
    pads = ((1, 0), (0, 1))
    options: Any = {"strides": strides, "padding": pads}
    y = reference.conv2d(x, w, **options)
    at = ConvInputs(x, w, whole(*y.shape), strides, pads, (1, 1), 1)
    assert np.array_equal(
        numpy_worker.grad_input(at), reference.conv2d_grad_input(at.grad_y, w, x.shape, **options)
    )
    assert np.array_equal(
        numpy_worker.grad_weights(at), reference.conv2d_grad_weights(x, at.grad_y, w.shape, **options)
    )


def channels_first(x: Any) -> Any:
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


@pytest.mark.usefixtures("python_loops")
def test_the_plain_loops() -> None:
    x, w, b = whole(BATCH, SIZE, SIZE, CIN), whole(3, 3, CIN, COUT), whole(COUT)
    y = reference.conv2d(x, w)
    grad_y = whole(*y.shape)
    x_, w_, grad_ = channels_first(x), np.ascontiguousarray(w.transpose(3, 2, 0, 1)), channels_first(grad_y)
    assert np.array_equal(loops.conv2d(x_, w_, b), channels_first(np.maximum(y + b, 0)))
    wanted = reference.conv2d_grad_input(grad_y, w, x.shape)
    assert np.array_equal(loops.conv2d_grad_input(grad_, w_), channels_first(wanted))
    wanted = reference.conv2d_grad_weights(x, grad_y, w.shape)
    assert np.array_equal(loops.conv2d_grad_weights(x_, grad_), wanted.transpose(3, 2, 0, 1))
    pooled = reference.max_pool2d(x, (2, 2))
    assert np.array_equal(loops.max_pool2d(x_, 2), channels_first(pooled))
    grad = whole(*pooled.shape)
    wanted = reference.max_pool2d_grad(grad, x, (2, 2))
    found = loops.max_pool2d_grad(channels_first(grad), x_, channels_first(pooled), 2)
    assert np.array_equal(found, channels_first(wanted))
    a, c = whole(5, 4), whole(4, 3)
    assert np.array_equal(loops.matmul(a, c), a @ c)


def test_numpys_network_gives_probabilities() -> None:
    network = networks.NETWORKS["second"]
    x = np.random.default_rng(0).random((2, *network.input_shape), np.float32)
    given = networks.weights(network)
    first = numpy_worker.forward(network, given, x, numpy_worker.im2col)
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(numpy_worker.forward(network, given, x, numpy_worker.taps), first, atol=1e-5)


def test_installed_bytes_leave_out_what_every_environment_has(tmp_path: Any) -> None:
    for name, size in (
        ("numpy/core/a.so", 100),
        ("numpy/__pycache__/b.pyc", 7),
        ("pip/c.py", 50),
        ("six.py", 3),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b" " * size)
    (tmp_path / "numpy" / "same.so").hardlink_to(tmp_path / "numpy" / "core" / "a.so")
    assert installed_size.installed_bytes(tmp_path) == 103
