"""Kernels for convolutional networks in Python: the public ops, arrays in and arrays out.

Images are NHWC, weights HWIO, dtypes float32 and float64. Whatever a caller can get wrong is a ValueError (shape, value), a
TypeError (dtype) or a RuntimeError (device) before a kernel runs. Importing this compiles nothing and imports neither Numba nor
CUDA; an op compiles what it needs when it is first called, and keeps it in a cache on disk.

Arrays may be NumPy's, or anything that np.asarray takes or that speaks DLPack, or lie on a GPU: `to_device` puts them there, and CuPy's
and PyTorch's come as they are. Ops run where their operands are; `device=` says otherwise (see dispatch.py), and `explain` tells what
"auto" would do.

What a kernel may assume: arrays are C-contiguous, aligned, of one dtype and of shapes that fit, and its output overlaps none of
its inputs, unless it says that they may be the same.

>>> import numpy as np
>>> from cnnlite_kernels import conv2d, max_pool2d
>>> y = conv2d(np.ones((8, 28, 28, 1), np.float32), np.ones((3, 3, 1, 32), np.float32), activation="relu")
>>> y.shape, max_pool2d(y, 2).shape
((8, 26, 26, 32), (8, 13, 13, 32))
"""

from cnnlite_kernels.cuda.array import DeviceArray
from cnnlite_kernels.explain import Explanation, explain
from cnnlite_kernels.ops.activations import (
    leaky_relu,
    leaky_relu_grad,
    relu,
    relu6,
    relu6_grad,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
    softmax_grad,
    tanh,
    tanh_grad,
)
from cnnlite_kernels.ops.average_pool2d import average_pool2d, average_pool2d_grad
from cnnlite_kernels.ops.batch_normalization import (
    batch_normalization,
    batch_normalization_grad,
    batch_normalization_train,
)
from cnnlite_kernels.ops.conv2d import conv2d, conv2d_grad_input, conv2d_grad_weights
from cnnlite_kernels.ops.conv2d_transpose import (
    conv2d_transpose,
    conv2d_transpose_grad_input,
    conv2d_transpose_grad_weights,
)
from cnnlite_kernels.ops.frames import cropping2d, zero_padding2d
from cnnlite_kernels.ops.global_pool2d import (
    global_average_pool2d,
    global_average_pool2d_grad,
    global_max_pool2d,
    global_max_pool2d_grad,
)
from cnnlite_kernels.ops.matmul import matmul
from cnnlite_kernels.ops.max_pool2d import max_pool2d, max_pool2d_grad
from cnnlite_kernels.ops.min_pool2d import min_pool2d, min_pool2d_grad
from cnnlite_kernels.ops.prelu import prelu, prelu_grad
from cnnlite_kernels.ops.softmax_cross_entropy import softmax_cross_entropy
from cnnlite_kernels.ops.to_device import to_device
from cnnlite_kernels.ops.up_sampling2d import up_sampling2d, up_sampling2d_grad
from cnnlite_kernels.packed import PackedWeights, pack_conv2d_weights, pack_matmul_weights
from cnnlite_kernels.precision import get_matmul_precision, set_matmul_precision
from cnnlite_kernels.window import Window2D

__all__ = [
    "DeviceArray",
    "Explanation",
    "PackedWeights",
    "Window2D",
    "average_pool2d",
    "average_pool2d_grad",
    "batch_normalization",
    "batch_normalization_grad",
    "batch_normalization_train",
    "conv2d",
    "conv2d_grad_input",
    "conv2d_grad_weights",
    "conv2d_transpose",
    "conv2d_transpose_grad_input",
    "conv2d_transpose_grad_weights",
    "cropping2d",
    "explain",
    "get_matmul_precision",
    "global_average_pool2d",
    "global_average_pool2d_grad",
    "global_max_pool2d",
    "global_max_pool2d_grad",
    "leaky_relu",
    "leaky_relu_grad",
    "matmul",
    "max_pool2d",
    "max_pool2d_grad",
    "min_pool2d",
    "min_pool2d_grad",
    "pack_conv2d_weights",
    "pack_matmul_weights",
    "prelu",
    "prelu_grad",
    "relu",
    "relu6",
    "relu6_grad",
    "relu_grad",
    "set_matmul_precision",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_cross_entropy",
    "softmax_grad",
    "tanh",
    "tanh_grad",
    "to_device",
    "up_sampling2d",
    "up_sampling2d_grad",
    "zero_padding2d",
]
