"""Where fit, evaluate and predict read their batches: arrays, lists, generators, Sequence-like objects."""

from cnnlite.batches.arrays import ArrayBatches, as_array, check_positive, split_validation
from cnnlite.batches.rows import borrow, gather
from cnnlite.batches.streams import Batch, StreamBatches, is_stream
from cnnlite.batches.weights import class_weights

__all__ = [
    "ArrayBatches",
    "Batch",
    "StreamBatches",
    "as_array",
    "borrow",
    "check_positive",
    "class_weights",
    "gather",
    "is_stream",
    "split_validation",
]
