"""Write a network of `networks` as an ONNX model, by hand: NCHW, a fixed batch, the shared weights.

Needs onnx and numpy. onnxruntime and OpenVINO read the same file, and their environments need no onnx for it:

    python -m peers.onnx_file documented 256 documented.onnx
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

from peers import networks

OPSET = 17


def build(network: networks.Network, batch: int) -> Any:
    """A model from "x" (batch, c, h, w) to "y" (batch, classes) probabilities."""
    given = iter(networks.weights(network))
    nodes: list[Any] = []
    constants: list[Any] = []
    at = "x"

    def constant(name: str, array: Any) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(op: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{op.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    before: tuple[int, ...] = ()
    for layer, shape in zip(network.layers, networks.shapes(network), strict=False):
        i = len(nodes)
        if isinstance(layer, networks.Conv):
            (top, bottom), (left, right) = layer.pads(shape[0], shape[1])
            w = constant(f"w_{i}", next(given).transpose(3, 2, 0, 1))
            b = constant(f"b_{i}", next(given))
            at = node("Conv", [at, w, b], strides=layer.strides, pads=[top, left, bottom, right])
            at = node("Relu", [at])
        elif isinstance(layer, networks.Pool):
            at = node("MaxPool", [at], kernel_shape=layer.size, strides=layer.size)
        elif isinstance(layer, networks.Flatten):
            at, before = node("Flatten", [at], axis=1), shape
        else:
            w_array = next(given)
            if before:
                # The shared weights expect (h, w, c); this network flattens (c, h, w).
                w_array = w_array.reshape(*before, -1).transpose(2, 0, 1, 3).reshape(w_array.shape)
                before = ()
            at = node("Gemm", [at, constant(f"w_{i}", w_array), constant(f"b_{i}", next(given))])
            at = node("Relu", [at]) if layer.activation == "relu" else node("Softmax", [at], axis=-1)
    nodes[-1].output[0] = "y"
    h, w_, c = network.input_shape
    graph = helper.make_graph(
        nodes,
        network.name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, c, h, w_])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, networks.CLASSES])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    checker.check_model(model)
    return model


if __name__ == "__main__":
    name, size, path = sys.argv[1:]
    save(build(networks.NETWORKS[name], int(size)), path)
