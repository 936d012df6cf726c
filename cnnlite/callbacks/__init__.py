"""Callbacks: what happens besides training, when epochs and batches begin and end, in Keras's form."""

from cnnlite.callbacks.base import Callback
from cnnlite.callbacks.callback_list import CallbackList
from cnnlite.callbacks.checkpoint import ModelCheckpoint
from cnnlite.callbacks.csv_logger import CSVLogger
from cnnlite.callbacks.early_stopping import EarlyStopping
from cnnlite.callbacks.history import History
from cnnlite.callbacks.lambda_callback import LambdaCallback
from cnnlite.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from cnnlite.callbacks.terminate import TerminateOnNaN

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]
