"""What layers with a kernel and a bias share: Dense and the convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnlite import initializers, naming, regularizers
from cnnlite.engine.stages import Stage
from cnnlite.layers.activation import activation_stage, get_activation
from cnnlite.layers.layer import Layer
from cnnlite.parameters import Parameter
from cnnlite_kernels.window import LAYER_NAMES, Window2D


def refuse_kernel_names(cls: type, arguments: Mapping[str, Any]) -> None:
    """TypeError for kernel_initializer and kernel_regularizer: for layers whose own have other names, but go to `Weighted` by these."""
    naming.refuse(cls, {name: value for name, value in arguments.items() if name.startswith("kernel_")})


class Weighted(Layer):
    """A layer that sums inputs times a kernel, adds a bias and applies an activation.

    Args:
        activation: None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "softmax".
        use_bias: whether there is a bias.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer: names or objects.
        further arguments: see `Layer`.
    """

    kernel: Parameter
    bias: Parameter | None

    def __init__(
        self,
        activation: str | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = get_activation(activation, self.name)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def declare_weights(self, kernel_shape: Sequence[int], outputs: int) -> None:
        """Declares the kernel, and the bias of each output."""
        self.kernel = self.add_parameter(
            "kernel", kernel_shape, self.kernel_initializer, self.kernel_regularizer
        )
        self.declare_bias(outputs)

    def declare_bias(self, outputs: int) -> None:
        """Declares the bias, if there is to be one."""
        self.bias = None
        if self.use_bias:
            self.bias = self.add_parameter("bias", (outputs,), self.bias_initializer, self.bias_regularizer)

    def window_of(self, kernel_size: Any, strides: Any, dilation_rate: Any, padding: Any) -> Window2D:
        """The checked window of a convolution."""
        return Window2D.of(kernel_size, strides, dilation_rate, padding, op=self.name, names=LAYER_NAMES)

    def activation_stages(self) -> list[Stage]:
        """The stage of the activation, none for None."""
        assert self.output_shape is not None
        return activation_stage(self.activation, self.output_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            "activation": self.activation,
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            **super().get_config(),
        }


def window_config(window: Window2D) -> dict[str, Any]:
    """A convolution's window as its layer's arguments, fit for JSON."""
    return {
        "kernel_size": list(window.kernel),
        "strides": list(window.strides),
        "padding": window.padding,
        "dilation_rate": list(window.dilation),
    }
