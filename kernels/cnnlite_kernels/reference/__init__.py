"""The slow, obvious NumPy version of every op, forward and backward: what the kernels are tested against.

Whatever real dtype comes in, float64 goes out; so integer-valued inputs give exact answers up to 2**53.
"""

from .activations import (
    activate,
    activate_grad,
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
from .average_pool2d import average_pool2d, average_pool2d_grad
from .batch_normalization import batch_normalization, batch_normalization_grad, batch_normalization_train
from .conv2d import conv2d, conv2d_grad_input, conv2d_grad_weights
from .conv2d_transpose import conv2d_transpose
from .frames import cropping2d, zero_padding2d
from .global_pool2d import (
    global_average_pool2d,
    global_average_pool2d_grad,
    global_max_pool2d,
    global_max_pool2d_grad,
)
from .matmul import matmul
from .max_pool2d import max_pool2d, max_pool2d_grad
from .min_pool2d import min_pool2d, min_pool2d_grad
from .prelu import prelu, prelu_grad
from .softmax_cross_entropy import softmax_cross_entropy, softmax_cross_entropy_grad
from .up_sampling2d import up_sampling2d, up_sampling2d_grad

__all__ = [
    "activate",
    "activate_grad",
    "average_pool2d",
    "average_pool2d_grad",
    "batch_normalization",
    "batch_normalization_grad",
    "batch_normalization_train",
    "conv2d",
    "conv2d_grad_input",
    "conv2d_grad_weights",
    "conv2d_transpose",
    "cropping2d",
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
    "prelu",
    "prelu_grad",
    "relu",
    "relu6",
    "relu6_grad",
    "relu_grad",
    "sigmoid",
    "sigmoid_grad",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_grad",
    "softmax_grad",
    "tanh",
    "tanh_grad",
    "up_sampling2d",
    "up_sampling2d_grad",
    "zero_padding2d",
]
