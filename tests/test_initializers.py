"""Initializers: Keras's formulas and names, numbers that the generator decides, configs that survive JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from cnnlite import initializers

NAMES = {
    "glorot_uniform": initializers.GlorotUniform,
    "glorot_normal": initializers.GlorotNormal,
    "he_uniform": initializers.HeUniform,
    "he_normal": initializers.HeNormal,
    "lecun_uniform": initializers.LecunUniform,
    "lecun_normal": initializers.LecunNormal,
    "zeros": initializers.Zeros,
    "ones": initializers.Ones,
    "constant": initializers.Constant,
    "random_uniform": initializers.RandomUniform,
    "random_normal": initializers.RandomNormal,
    "truncated_normal": initializers.TruncatedNormal,
    "variance_scaling": initializers.VarianceScaling,
    "orthogonal": initializers.Orthogonal,
}
KERNEL = (3, 3, 40, 60)
FAN_IN, FAN_OUT = 360, 540
# the variance that Keras's documentation gives for each
VARIANCE = {
    "glorot_uniform": 2 / (FAN_IN + FAN_OUT),
    "glorot_normal": 2 / (FAN_IN + FAN_OUT),
    "he_uniform": 2 / FAN_IN,
    "he_normal": 2 / FAN_IN,
    "lecun_uniform": 1 / FAN_IN,
    "lecun_normal": 1 / FAN_IN,
    "random_uniform": 0.1**2 / 12,
    "random_normal": 0.05**2,
    "truncated_normal": (0.05 * 0.87962566103423978) ** 2,
    "variance_scaling": 1 / FAN_IN,
}


@pytest.mark.parametrize("name", NAMES)
def test_names_classes_and_functions_are_the_same(name):
    kind = NAMES[name]
    assert getattr(initializers, name) is kind
    for identifier in (name, kind.__name__, kind, kind()):
        assert type(initializers.get(identifier)) is kind


@pytest.mark.parametrize("name", VARIANCE)
def test_variance_and_mean(name):
    w = initializers.get(name)(KERNEL, np.float64, np.random.default_rng(3))
    # the variance of n values varies by at most sqrt(2 / n) of itself, their mean by sigma / sqrt(n)
    assert w.var() == pytest.approx(VARIANCE[name], rel=5 * math.sqrt(2 / w.size))
    assert abs(w.mean()) < 5 * math.sqrt(VARIANCE[name] / w.size)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("glorot_uniform", math.sqrt(6 / (FAN_IN + FAN_OUT))),
        ("he_uniform", math.sqrt(6 / FAN_IN)),
        ("lecun_uniform", math.sqrt(3 / FAN_IN)),
        ("random_uniform", 0.05),
        ("truncated_normal", 0.1),
        ("glorot_normal", 2 * math.sqrt(2 / (FAN_IN + FAN_OUT)) / 0.87962566103423978),
        ("he_normal", 2 * math.sqrt(2 / FAN_IN) / 0.87962566103423978),
        ("lecun_normal", 2 * math.sqrt(1 / FAN_IN) / 0.87962566103423978),
    ],
)
def test_limits_are_reached_and_not_passed(name, limit):
    w = initializers.get(name)(KERNEL, np.float64, np.random.default_rng(3))
    assert 0.99 * limit < abs(w).max() <= limit


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["uniform", "normal", "truncated_normal", "untruncated_normal"])
def test_variance_scaling(mode, distribution):
    fan = {"fan_in": FAN_IN, "fan_out": FAN_OUT, "fan_avg": (FAN_IN + FAN_OUT) / 2}[mode]
    w = initializers.VarianceScaling(3.0, mode, distribution, seed=1)(KERNEL, np.float64)
    assert w.var() == pytest.approx(3 / fan, rel=5 * math.sqrt(2 / w.size))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), (1, 1)), ((5,), (5, 5)), ((5, 7), (5, 7)), ((3, 5, 7, 11), (105, 165)), ((3, 2, 4), (6, 12))],
)
def test_fans(shape, expected):
    assert initializers.fans(shape) == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, "float32"])
def test_shape_and_dtype(name, dtype):
    w = initializers.get(name)((2, 3, 4, 5), dtype)
    assert w.shape == (2, 3, 4, 5)
    assert w.dtype == dtype
    assert w.flags.c_contiguous
    assert w.flags.writeable


@pytest.mark.parametrize("name", [name for name in NAMES if name != "orthogonal"])
@pytest.mark.parametrize("shape", [(), (4,), (0, 3)])
def test_any_shape(name, shape):
    assert initializers.get(name)(shape).shape == shape


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_decides(name):
    initializer = initializers.get(name)
    first = initializer((4, 4), np.float64, np.random.default_rng(1))
    np.testing.assert_array_equal(first, initializer((4, 4), np.float64, np.random.default_rng(1)))
    np.testing.assert_array_equal(first.astype(np.float32), initializer((4, 4), rng=np.random.default_rng(1)))
    if name not in ("zeros", "ones", "constant"):
        assert (first != initializer((4, 4), np.float64, np.random.default_rng(2))).any()
        assert (first != initializer((4, 4), np.float64)).any()


def test_a_seed_decides_over_the_generator():
    initializer = initializers.HeNormal(seed=5)
    first = initializer((4, 4), rng=np.random.default_rng(1))
    np.testing.assert_array_equal(first, initializer((4, 4)))


def test_a_generator_gives_each_layer_its_own_numbers():
    rng = np.random.default_rng(1)
    initializer = initializers.get("glorot_uniform")
    assert (initializer((4, 4), rng=rng) != initializer((4, 4), rng=rng)).all()


@pytest.mark.parametrize("shape", [(8, 3), (3, 8), (5, 5), (2, 2, 3, 6), (1, 1, 2, 9)])
def test_orthogonal(shape):
    w = initializers.Orthogonal(gain=2.0, seed=0)(shape, np.float64).reshape(-1, shape[-1]) / 2
    product = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-14)


def test_constants():
    np.testing.assert_array_equal(initializers.Constant(3)((2, 2)), np.full((2, 2), 3))
    np.testing.assert_array_equal(initializers.Constant([1, 2])((3, 2)), [[1, 2]] * 3)
    assert initializers.Zeros()((3,)).sum() == 0
    assert initializers.Ones()((3,)).sum() == 3


@pytest.mark.parametrize(
    "initializer",
    [kind() for kind in NAMES.values()]
    + [
        initializers.HeNormal(seed=3),
        initializers.Constant([1.0, 2.0]),
        initializers.RandomUniform(-1, 1, seed=2),
        initializers.TruncatedNormal(1.0, 2.0),
        initializers.VarianceScaling(2.0, "fan_out", "uniform", seed=1),
        initializers.Orthogonal(0.5),
    ],
    ids=repr,
)
def test_configs_survive_json(initializer):
    again = initializers.get(json.loads(json.dumps(initializers.serialize(initializer))))
    assert repr(again) == repr(initializer)
    assert type(initializer).from_config(initializer.get_config()).get_config() == initializer.get_config()
    draws = [one((4, 2), np.float64, np.random.default_rng(1)) for one in (initializer, again)]
    np.testing.assert_array_equal(*draws)


def test_a_function_of_the_caller():
    def rising(shape, dtype=None):
        return np.arange(math.prod(shape)).reshape(shape)

    initializer = initializers.get(rising)
    w = initializer((2, 3))
    np.testing.assert_array_equal(w, [[0, 1, 2], [3, 4, 5]])
    assert w.dtype == np.float32
    again = initializers.get(json.loads(json.dumps(initializers.serialize(initializer))))
    with pytest.raises(
        ValueError, match=r"initializer 'rising': expected the function itself .* Build the layer"
    ):
        again((2, 3))


def test_a_function_returns_the_shape_asked_for():
    with pytest.raises(ValueError, match=r"expected values of shape \(2, 3\), got \(3,\). Return an array"):
        initializers.get(lambda shape, dtype: np.zeros(3))((2, 3))


def test_a_subclass_of_the_caller():
    class Twos(initializers.Initializer):
        def _draw(self, shape, rng):
            return np.full(shape, 2.0)

    initializer = initializers.get(Twos)
    assert initializer((2,)).tolist() == [2, 2]
    assert initializers.serialize(initializer) == {"class_name": "FromFunction", "config": {"name": "Twos"}}


def test_the_base_class_draws_nothing():
    with pytest.raises(NotImplementedError, match=r"Initializer: define _draw\(shape, rng\)"):
        initializers.Initializer()((2,))


@pytest.mark.parametrize("name", ["xavier", "FromFunction", ""])
def test_an_unknown_name_is_answered_with_the_names(name):
    with pytest.raises(
        ValueError, match=rf"expected an initializer, one of zeros, .*lecun_normal, got '{name}'"
    ):
        initializers.get(name)


@pytest.mark.parametrize("value", [None, 3, [1]])
def test_what_is_no_initializer_is_a_type_error(value):
    with pytest.raises(
        TypeError, match=r"expected an initializer as a name, .* For example kernel_initializer"
    ):
        initializers.get(value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.VarianceScaling(mode="fan"), r"expected mode to be one of .*, got 'fan'"),
        (
            lambda: initializers.VarianceScaling(distribution="beta"),
            r"expected distribution to be .*, got 'beta'",
        ),
        (lambda: initializers.VarianceScaling(0.0), r"VarianceScaling: expected scale above 0, got 0.0"),
        (
            lambda: initializers.RandomUniform(1, -1),
            r"RandomUniform: expected minval <= maxval, got 1 and -1",
        ),
        (
            lambda: initializers.TruncatedNormal(0, -1),
            r"TruncatedNormal: expected stddev of 0 or more, got -1",
        ),
        (lambda: initializers.Orthogonal()((3,)), r"Orthogonal: expected .* two axes or more, got \(3,\)"),
        (lambda: initializers.Constant([1, 2])((3,)), r"broadcasts to \(3,\), got one of shape \(2,\)"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
