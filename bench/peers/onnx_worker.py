"""onnxruntime: inference only, from a model with the shared weights and a fixed batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from peers import networks
from peers.memory import peak_above
from peers.protocol import Measurement, Request, serve, thread_count


def session(request: Request) -> Any:
    """The model on as many threads as were asked for."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(request["model"], options, providers=["CPUExecutionProvider"])


def predict(request: Request) -> Measurement:
    """`run`, `batch` images at a time; they lie in memory as the model wants them (NCHW)."""
    batch, n = request["batch"], request["images"]
    _, images, _ = networks.asked_for(request)
    made = session(request)
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))

    def once() -> object:
        if n == batch:
            return made.run(None, {"x": x})[0]
        return np.concatenate(
            [made.run(None, {"x": x[start : start + batch]})[0] for start in range(0, n, batch)]
        )

    return Measurement(once, n, lambda: np.asarray(once())[:64])


def predict_memory(request: Request) -> Measurement:
    """Peak of the process while it predicts, above the images it was given, in bytes."""
    _, images, _ = networks.asked_for(request)
    made, batch = session(request), request["batch"]
    for start in range(0, len(images), batch):
        made.run(None, {"x": np.ascontiguousarray(images[start : start + batch].transpose(0, 3, 1, 2))})
    return Measurement(None, 1, value=peak_above(images))


if __name__ == "__main__":
    serve(
        lambda: {"onnxruntime": onnxruntime.__version__},
        {"predict": predict, "predict_memory": predict_memory},
    )
