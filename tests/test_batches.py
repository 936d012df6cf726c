"""Batches: what fit takes, that it is read row by row, and what it says about what it does not take."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnlite.batches import (
    ArrayBatches,
    StreamBatches,
    as_array,
    borrow,
    class_weights,
    gather,
    is_stream,
    split_validation,
)

DTYPES = ["bool", "int8", "uint8", "int32", "uint64", "float16", "float32", "float64", ">f4", ">i2"]


def fresh(out_shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    return np.full(out_shape, np.nan, dtype)


# as_array


@pytest.mark.parametrize("value", [[[1, 2], [3, 4]], ([1, 2], [3, 4]), [np.array([1, 2]), np.array([3, 4])]])
def test_lists_become_arrays(value):
    np.testing.assert_array_equal(as_array(value, "x"), [[1, 2], [3, 4]])


def test_an_array_is_not_copied():
    x = np.zeros((3, 2))
    assert as_array(x, "x") is x


def test_a_memmap_is_not_read(tmp_path):
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=(4, 2))
    assert np.shares_memory(as_array(x, "x"), x)


class HasArray:
    def __array__(self, dtype=None, copy=None):
        return np.arange(3.0)


class HasDlpack:
    """An array of a library that speaks DLPack only."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnDevice:
    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert device memory to numpy")


def test_objects_of_other_libraries_are_read():
    np.testing.assert_array_equal(as_array(HasArray(), "x"), [0, 1, 2])
    source = np.arange(4, dtype=np.float32)
    assert np.shares_memory(as_array(HasDlpack(source), "x"), source)


def test_data_on_a_device_is_named():
    with pytest.raises(TypeError, match=r"fit: could not read x, a OnDevice, .*: can't convert.*host"):
        as_array(OnDevice(), "x")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array(["a", "b"]), r"evaluate: expected x to hold numbers .*got dtype <U1. Map strings"),
        (["a", "b"], r"got dtype <U1. Map strings"),
        (np.array([1, None]), r"got dtype object. Convert it to numbers"),
        (np.array([1j]), r"got dtype complex128. Pass the real"),
        (np.array(["2020-01-01"], "M8[D]"), r"got dtype datetime64\[D\]"),
        ({"a": [1]}, r"expected x to be an array or nested lists of numbers, got dict"),
        ("abc", r"got str"),
        (None, r"got NoneType"),
        (lambda: [1], r"got function. A generator function has to be called"),
    ],
)
def test_what_is_no_number_is_a_type_error(value, message):
    with pytest.raises(TypeError, match=message):
        as_array(value, "x", "evaluate")


@pytest.mark.parametrize("value", [[[1, 2], [3]], [np.zeros((2, 3)), np.zeros((3, 3))]])
def test_ragged_lists_are_named(value):
    with pytest.raises(ValueError, match=r"predict: expected x to be rectangular, got lists of unequal"):
        as_array(value, "x", "predict")


def test_a_single_number_is_no_batch():
    with pytest.raises(ValueError, match=r"fit: expected y to have .* value 3.0. .* pass y\[None\]"):
        as_array(np.float64(3), "y")


class BadArray:
    def __array__(self, dtype=None, copy=None):
        raise ValueError("file is truncated")


def test_other_failures_keep_their_reason():
    with pytest.raises(ValueError, match=r"fit: could not read x as an array: file is truncated"):
        as_array(BadArray(), "x")


# gather


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", ["float32", "float64", "int32"])
@pytest.mark.parametrize("rows", [slice(2, 5), np.array([4, 0, 4, 2])], ids=["slice", "indices"])
def test_gather_converts(dtype, target, rows):
    x = (np.arange(6 * 6).reshape(6, 2, 3) % 100).astype(dtype)
    out = np.full((7, 2, 3), 99, target)
    filled = gather(x, rows, out)
    np.testing.assert_array_equal(filled, x[rows].astype(target))
    assert np.shares_memory(filled, out)
    assert (out[len(filled) :] == 99).all()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("layout", ["sliced", "transposed", "fortran", "misaligned", "read-only"])
def test_gather_reads_any_layout(layout, dtype):
    x = np.arange(6 * 12).reshape(6, 12).astype(dtype)
    if layout == "sliced":
        x = np.repeat(x, 2, axis=0)[::2]
    elif layout == "transposed":
        x = np.ascontiguousarray(x.T).T
    elif layout == "fortran":
        x = np.asfortranarray(x)
    elif layout == "misaligned":
        raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(dtype).reshape(x.shape)
        raw[:] = x
        x = raw
    else:
        x.flags.writeable = False
    order = np.array([5, 1, 3])
    np.testing.assert_array_equal(gather(x, order, fresh((3, 12))), x[order].astype(np.float32))
    np.testing.assert_array_equal(gather(x, slice(1, 4), fresh((3, 12))), x[1:4].astype(np.float32))


@pytest.mark.parametrize("columns", [1000, 40_000])
def test_gather_goes_on_after_a_chunk(columns):
    # float64 rows of 8 kB, 32 of them a chunk, and of 320 kB, one a chunk
    x = np.arange(70.0 * columns).reshape(70, columns)
    order = np.random.default_rng(0).permutation(70)
    np.testing.assert_array_equal(gather(x, order, fresh((70, columns))), x[order].astype(np.float32))


def test_gather_keeps_nan_and_takes_labels():
    x = np.array([np.nan, np.inf, 1.0])
    np.testing.assert_array_equal(gather(x, np.array([1, 0]), fresh((2,))), np.float32([np.inf, np.nan]))
    assert gather(np.array([3, 1]), slice(0, 0), fresh((2,))).shape == (0,)


@pytest.mark.parametrize("rows", [slice(0, 3), np.array([0, 1, 2])])
@pytest.mark.parametrize("shape", [(2, 4), (3, 5)])
def test_gather_names_a_wrong_buffer(rows, shape):
    with pytest.raises(ValueError, match=r"gather: expected .* buffer for 3 rows of shape \(4,\), got out"):
        gather(np.zeros((6, 4)), rows, fresh(shape))


def test_borrow_shares_only_what_a_kernel_can_read():
    x = np.zeros((6, 4), np.float32)
    assert np.shares_memory(borrow(x, slice(2, 4), np.float32), x)
    assert borrow(x, np.array([0]), np.float32) is None
    assert borrow(x, slice(2, 4), np.float64) is None
    assert borrow(x[:, ::2], slice(2, 4), np.float32) is None
    assert borrow(x.astype(">f4"), slice(2, 4), np.float32) is None


# ArrayBatches


@given(n=st.integers(1, 40), batch_size=st.integers(1, 45), seed=st.integers(0, 3))
def test_every_row_comes_once_an_epoch(n, batch_size, seed):
    x = np.arange(n)
    for shuffle in (False, True):
        batches = ArrayBatches(x, batch_size=batch_size, shuffle=shuffle, rng=np.random.default_rng(seed))
        rows = [x[indices] for indices in batches]
        assert len(rows) == batches.steps == len(batches) == -(-n // batch_size)
        assert {len(row) for row in rows[:-1]} <= {batch_size}
        together = np.concatenate(rows)
        np.testing.assert_array_equal(np.sort(together), x)
        if not shuffle:
            np.testing.assert_array_equal(together, x)


def test_the_order_comes_from_the_generator_and_is_new_each_epoch():
    def epochs():
        batches = ArrayBatches(np.arange(50), batch_size=7, shuffle=True, rng=np.random.default_rng(5))
        return [np.concatenate(list(batches)).tolist() for _ in range(2)]

    first, second = epochs()
    assert first != second
    assert [first, second] == epochs()


def test_x_y_and_weights_stay_together():
    x = np.arange(20, dtype=np.uint8)[:, None]
    batches = ArrayBatches(x, x[:, 0] * 2, np.arange(20) / 4, batch_size=6, shuffle=True)
    for rows in batches:
        got = batches.gather(batches.x, rows, fresh((6, 1)))[:, 0]
        np.testing.assert_array_equal(batches.gather(batches.y, rows, fresh((6,))), got * 2)
        np.testing.assert_array_equal(batches.gather(batches.sample_weight, rows, fresh((6,))), got / 4)


def test_fit_with_steps_goes_on_where_it_stopped():
    batches = ArrayBatches(np.arange(5), batch_size=2, steps=2)
    rows = [[indices.start for indices in batches] for _ in range(3)]
    assert rows == [[0, 2], [4, 0], [2, 4]]


def test_evaluate_with_steps_reads_no_row_twice():
    assert ArrayBatches([1, 2, 3], batch_size=2, steps=9, op="evaluate").steps == 2
    assert len(list(ArrayBatches([1, 2, 3], batch_size=2, steps=1, op="evaluate"))) == 1


def test_lengths_that_differ_are_named():
    with pytest.raises(ValueError, match=r"fit: expected x and y with the same .*, got 3 and 2. Every"):
        ArrayBatches(np.zeros((3, 2)), [0, 1])
    with pytest.raises(ValueError, match=r"expected x and sample_weight with the same .*, got 3 and 4"):
        ArrayBatches(np.zeros((3, 2)), [0, 1, 2], np.ones(4))


@pytest.mark.parametrize("op", ["fit", "evaluate"])
def test_no_samples_is_an_error(op):
    with pytest.raises(ValueError, match=rf"{op}: expected at least one sample, got x of shape \(0, 3\)"):
        ArrayBatches(np.zeros((0, 3)), np.zeros(0), op=op)


def test_predict_of_nothing_is_nothing():
    batches = ArrayBatches(np.zeros((0, 3)), op="predict")
    assert batches.steps == 0
    assert list(batches) == []


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_below_1_is_an_error(size):
    with pytest.raises(ValueError, match=rf"fit: expected batch_size of at least 1, got {size}"):
        ArrayBatches([1], batch_size=size)


@pytest.mark.parametrize("size", [2.0, "2", True, None])
def test_a_batch_size_is_an_integer(size):
    with pytest.raises(TypeError, match=r"fit: expected batch_size to be an integer, got"):
        ArrayBatches([1], batch_size=size)


def test_numpy_integers_are_integers():
    assert ArrayBatches([1, 2], batch_size=np.int64(2)).steps == 1


def test_sample_weight_has_one_axis():
    with pytest.raises(ValueError, match=r"fit: expected sample_weight of shape \(n,\), .*, got \(3, 1\)"):
        ArrayBatches([1, 2, 3], None, np.ones((3, 1)))


# split_validation


@pytest.mark.parametrize(("n", "fraction", "kept"), [(10, 0.2, 8), (7, 0.25, 5), (100, 0.1, 90), (3, 0.5, 1)])
def test_the_last_samples_validate(n, fraction, kept):
    x, y, w = np.arange(n), np.arange(n) * 2, np.arange(n) * 3.0
    train, validation = split_validation(x, y, w, fraction)
    for part, whole in zip(train, (x, y, w), strict=True):
        np.testing.assert_array_equal(part, whole[:kept])
        assert np.shares_memory(part, whole)
    for part, whole in zip(validation, (x, y, w), strict=True):
        np.testing.assert_array_equal(part, whole[kept:])


def test_split_leaves_out_what_is_not_there():
    assert split_validation([1, 2], fraction=0.5)[0][1:] == (None, None)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, float("nan")])
def test_a_fraction_lies_between_0_and_1(fraction):
    with pytest.raises(ValueError, match=r"fit: expected validation_split between 0 and 1, got"):
        split_validation([1, 2], fraction=fraction)


def test_both_parts_have_samples():
    with pytest.raises(ValueError, match=r"expected validation_split to leave .*, got 0.9 of 2"):
        split_validation([1, 2], fraction=0.9)


# class_weights


@pytest.mark.parametrize("y", [[0, 2, 1, 2], [[0], [2], [1], [2]], np.eye(3)[[0, 2, 1, 2]]])
def test_class_weights_look_the_class_up(y):
    got = class_weights(np.asarray(y), {2: 4.0, 0: 0.5})
    np.testing.assert_array_equal(got, np.float32([0.5, 4, 1, 4]))
    assert got.dtype == np.float32


def test_class_weights_multiply_sample_weights():
    got = class_weights(np.array([0.0, 7.0, -1.0]), {7: 2.0}, np.array([3.0, 4.0, 5.0]))
    np.testing.assert_array_equal(got, np.float32([3, 8, 5]))


@pytest.mark.parametrize("bad", [{}, [1.0, 2.0], {"cat": 1.0}, {0: "heavy"}, None])
def test_class_weight_is_a_dict_of_numbers(bad):
    with pytest.raises(ValueError, match=r"fit: expected class_weight as \{class number: weight\}, got"):
        class_weights(np.array([0]), bad)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_class_weights_are_finite_and_not_negative(bad):
    with pytest.raises(ValueError, match=r"fit: expected class_weight of finite weights, 0 or more, got"):
        class_weights(np.array([0]), {0: bad})


def test_class_weights_need_labels():
    with pytest.raises(ValueError, match=r"expected labels .* with class_weight, got y of shape \(2, 2, 2\)"):
        class_weights(np.zeros((2, 2, 2)), {0: 1.0})


# StreamBatches


def pair(i: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((2, 1), i), np.array([i, i])


def numbers(batches) -> list[int]:
    return [int(batch.x[0, 0]) for batch in batches]


class Sequence:
    """Keras's Sequence: batches by number."""

    def __init__(self, count):
        self.count = count
        self.epochs = 0

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return pair(index)

    def on_epoch_end(self):
        self.epochs += 1


class Restartable:
    def __iter__(self):
        return (pair(i) for i in range(3))


def test_what_counts_as_a_stream():
    assert all(map(is_stream, [iter([]), (i for i in ()), Sequence(1), Restartable()]))
    assert not any(map(is_stream, [np.zeros(2), [1], (1,), HasArray(), HasDlpack(np.zeros(1)), "ab", {}, 3]))


def test_a_generator_is_read_once():
    batches = StreamBatches(pair(i) for i in range(3))
    assert batches.steps is None
    assert numbers(batches) == [0, 1, 2]
    assert not batches.exhausted
    with pytest.warns(UserWarning, match=r"fit: the data ran out in epoch 2: a batch expected, 0 came. Make"):
        assert numbers(batches) == []
    assert batches.exhausted


def test_a_generator_goes_on_over_epochs():
    batches = StreamBatches((pair(i) for i in range(5)), steps=2)
    assert numbers(batches) == [0, 1]
    assert numbers(batches) == [2, 3]
    with pytest.warns(UserWarning, match=r"ran out in epoch 3: 2 batches expected, 1 came"):
        assert numbers(batches) == [4]


@pytest.mark.parametrize("source", [Sequence(3), Restartable()])
def test_what_can_be_read_again_is(source):
    batches = StreamBatches(source)
    assert [numbers(batches) for _ in range(2)] == [[0, 1, 2]] * 2
    assert not batches.exhausted


@pytest.mark.parametrize("source", [Sequence(3), Restartable()])
def test_what_can_be_read_again_goes_round_with_steps(source):
    batches = StreamBatches(source, steps=2)
    assert [numbers(batches) for _ in range(3)] == [[0, 1], [2, 0], [1, 2]]
    assert numbers(StreamBatches(source, steps=9, op="evaluate")) == [0, 1, 2]


def test_a_sequence_is_told_and_shuffled():
    source = Sequence(20)
    batches = StreamBatches(source, shuffle=True, rng=np.random.default_rng(1))
    first, second = numbers(batches), numbers(batches)
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert source.epochs == 2


def test_sample_weights_and_loader_lists_come_through():
    (batch,) = StreamBatches(iter([(np.zeros((2, 3)), [0, 1], [0.5, 1.0])]))
    assert batch.sample_weight.tolist() == [0.5, 1.0]
    (batch,) = StreamBatches(iter([[np.zeros((2, 3)), np.array([0, 1])]]))
    assert batch.y.tolist() == [0, 1]


def test_predict_reads_x_alone():
    for item in (np.zeros((2, 3)), (np.zeros((2, 3)),), (np.zeros((2, 3)), [0, 1])):
        (batch,) = StreamBatches(iter([item]), op="predict")
        assert batch.x.shape == (2, 3)
        assert batch.y is None


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (np.zeros((2, 3)), ValueError, r"fit, batch 0: expected \(x, y\) or .*, got x alone"),
        ((1, 2, 3, 4), ValueError, r"fit, batch 0: expected \(x, y\) or .*, got a tuple of 4"),
        ((), ValueError, r"got a tuple of 0"),
        ((np.zeros((2, 3)), [1]), ValueError, r"batch 0: expected x and y with the same .*, got 2 and 1"),
        ((np.zeros((0, 3)), np.zeros(0)), ValueError, r"batch 0: expected at least one sample, got x of"),
        ((["a"], [1]), TypeError, r"batch 0: expected x to hold numbers"),
        ((np.zeros((2, 3)), [1, 2], [[1], [2]]), ValueError, r"batch 0: expected sample_weight of shape"),
    ],
)
def test_a_bad_batch_is_named(item, error, message):
    with pytest.raises(error, match=message):
        list(StreamBatches(iter([item])))


def test_a_stream_without_batches_is_an_error():
    with pytest.raises(ValueError, match=r"fit: expected .* batch, but the list_iterator gave none"):
        list(StreamBatches(iter([])))
    with pytest.raises(ValueError, match=r"fit: expected at least one batch, got an empty Sequence"):
        StreamBatches(Sequence(0))


def test_an_array_is_no_stream():
    with pytest.raises(TypeError, match=r"expected a generator, .* got ndarray"):
        StreamBatches(np.zeros(3))
    with pytest.raises(TypeError, match=r"got function. Call a generator function before"):
        StreamBatches(lambda: 1)


def test_a_full_run_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert numbers(StreamBatches((pair(i) for i in range(4)), steps=4)) == [0, 1, 2, 3]
