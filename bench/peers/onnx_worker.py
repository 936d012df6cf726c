"""onnxruntime: inference only, from a model with the shared weights and a fixed batch."""

from __future__ import annotations

import numpy as np
import onnxruntime

from peers import networks
from peers.protocol import Measurement, Request, serve, thread_count


def predict(request: Request) -> Measurement:
    """`run`, `batch` images at a time; they lie in memory as the model wants them (NCHW)."""
    batch, n = request["batch"], request["images"]
    _, images, _ = networks.asked_for(request)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(request["model"], options, providers=["CPUExecutionProvider"])
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))

    def once() -> object:
        if n == batch:
            return session.run(None, {"x": x})[0]
        return np.concatenate(
            [session.run(None, {"x": x[start : start + batch]})[0] for start in range(0, n, batch)]
        )

    return Measurement(once, n, lambda: np.asarray(once())[:64])


if __name__ == "__main__":
    serve(lambda: {"onnxruntime": onnxruntime.__version__}, {"predict": predict})
