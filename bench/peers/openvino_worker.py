"""OpenVINO on the CPU: inference only, float32 unless bfloat16 is asked for, from the same ONNX file as onnxruntime."""

from __future__ import annotations

import numpy as np
import openvino as ov

from peers import networks
from peers.memory import peak_above
from peers.protocol import Measurement, Request, fastest, serve, thread_count


def compile_model(request: Request, hint: str, streams: int) -> ov.CompiledModel:
    """Float32 throughout unless asked: without the hint OpenVINO takes bfloat16 where the processor has it."""
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if request.get("precision") == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": thread_count(),
        "NUM_STREAMS": streams,
        "PERFORMANCE_HINT": hint,
    }
    return ov.Core().compile_model(request["model"], "CPU", options)


def predict(request: Request) -> Measurement:
    """`batch` images at a time, one request over all threads (latency) or one a thread (throughput)."""
    batch, n = request["batch"], request["images"]
    _, images, _ = networks.asked_for(request)
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    out = np.empty((n, networks.CLASSES), np.float32)

    def latency() -> Measurement:
        run = compile_model(request, "LATENCY", 1).create_infer_request()

        def once() -> object:
            for start in range(0, n, batch):
                found = run.infer({0: x[start : start + batch]}, share_inputs=True, share_outputs=True)
                out[start : start + batch] = found[0]
            return out

        return Measurement(once, n, lambda: np.asarray(once())[:64].copy())

    def throughput() -> Measurement:
        queue = ov.AsyncInferQueue(compile_model(request, "THROUGHPUT", thread_count()), thread_count())

        def keep(done: ov.InferRequest, start: int) -> None:
            out[start : start + batch] = done.get_output_tensor(0).data

        queue.set_callback(keep)

        def once() -> object:
            for start in range(0, n, batch):
                queue.start_async({0: x[start : start + batch]}, start, share_inputs=True)
            queue.wait_all()
            return out

        return Measurement(once, n, lambda: np.asarray(once())[:64].copy())

    return fastest({"latency": latency, "throughput": throughput})


def predict_memory(request: Request) -> Measurement:
    """Peak of the process while it predicts, above the images it was given, in bytes."""
    _, images, _ = networks.asked_for(request)
    run = compile_model(request["model"], "LATENCY", 1).create_infer_request()
    for start in range(0, len(images), request["batch"]):
        part = images[start : start + request["batch"]]
        run.infer({0: np.ascontiguousarray(part.transpose(0, 3, 1, 2))}, share_inputs=True)
    return Measurement(None, 1, value=peak_above(images))


if __name__ == "__main__":
    serve(
        lambda: {"openvino": ov.__version__.split("-")[0]},
        {"predict": predict, "predict_memory": predict_memory},
    )
