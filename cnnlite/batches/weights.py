"""Class weights turned into a weight for each sample."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cnnlite.batches.types import AnyArray


def class_weights(
    y: AnyArray, class_weight: Mapping[int, float], sample_weight: AnyArray | None = None, op: str = "fit"
) -> NDArray[np.float32]:
    """Return the weight of each sample's class, times its sample weight where there is one.

    Args:
        y: class numbers (n,) or (n, 1), or one-hot rows (n, classes). A batch or the whole set.
        class_weight: {class number: weight}; a class that is not named weighs 1, as in Keras.
        sample_weight: (n,) or None.
        op: the method that messages name.

    Returns:
        (n,) float32, newly allocated.

    Raises:
        ValueError: y with more than two axes, an empty dict, keys that are not class numbers, or weights that
            are negative or not finite.

    >>> import numpy as np
    >>> class_weights(np.array([0, 1, 2, 1]), {1: 3.0})
    array([1., 3., 1., 3.], dtype=float32)
    """
    if y.ndim > 2:
        raise ValueError(
            f"{op}: expected labels (n,), (n, 1) or (n, classes) with class_weight, got y of shape "
            f"{y.shape}. Use sample_weight instead."
        )
    classes, values = _table(class_weight, op)
    labels = y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y.reshape(-1)
    nearest = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    weights = np.where(classes[nearest] == labels, values[nearest], np.float32(1))
    return weights if sample_weight is None else weights * sample_weight.astype(np.float32)


def _table(class_weight: Mapping[int, float], op: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    try:
        table = sorted((int(label), float(weight)) for label, weight in class_weight.items())
    except (AttributeError, TypeError, ValueError):
        table = []
    if not table:
        raise ValueError(
            f"{op}: expected class_weight as {{class number: weight}}, got {class_weight!r}. "
            "For example {0: 1.0, 1: 5.0}."
        )
    classes = np.array([label for label, _ in table], np.int64)
    values = np.array([weight for _, weight in table], np.float32)
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError(f"{op}: expected class_weight of finite weights, 0 or more, got {class_weight!r}.")
    return classes, values
