"""BatchNormalization: channels of mean 0 and variance 1, as Keras has it."""

from __future__ import annotations

from numbers import Real
from typing import Any

from cnnlite import initializers, regularizers
from cnnlite.engine.stages import NormalizationStage, Stage, image_shape
from cnnlite.layers.layer import Layer, Shape
from cnnlite.parameters import Parameter


class BatchNormalization(Layer):
    """Normalises each channel:

        y = (x - mean) / sqrt(variance + epsilon) * gamma + beta

    In training mean and variance (over n, not n - 1) are those of all pixels of the batch, and the moving ones go towards them:
    moving = moving * momentum + the batch's * (1 - momentum). Otherwise, and in a layer that is frozen (`trainable=False`), they are
    the moving ones, which then stay as they are. Nothing else changes the moving ones: they are no weights that an optimizer moves.

    Args:
        axis: of the channels: -1, or the number of the last axis, the batch's being 0.
        momentum: how much of the moving mean and variance stays at a step.
        epsilon: added to the variance.
        center: whether there is a beta. scale: whether there is a gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer: names or objects.
        beta_regularizer, gamma_regularizer: names or objects.

    Weights: gamma, beta, moving_mean, moving_variance, each (channels,).

    Input shape: any. Output shape: the same.

    Raises:
        ValueError: another axis, a momentum or epsilon that is none.

    >>> from cnnlite import layers
    >>> layer = layers.BatchNormalization()
    >>> layer.build((28, 28, 16))
    >>> [weight.name for weight in layer.trainable_weights], [weight.name for weight in layer.non_trainable_weights]
    (['gamma', 'beta'], ['moving_mean', 'moving_variance'])
    """

    gamma: Parameter | None
    beta: Parameter | None
    moving_mean: Parameter
    moving_variance: Parameter

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.momentum, self.epsilon = momentum, epsilon
        self.center, self.scale = bool(center), bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        if not isinstance(momentum, Real) or not 0 <= momentum <= 1:
            raise ValueError(f"{self.name}: expected momentum from 0 to 1, got {momentum!r}.")
        if not isinstance(epsilon, Real) or not epsilon >= 0:
            raise ValueError(f"{self.name}: expected epsilon of at least 0, got {epsilon!r}.")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if self.axis not in (-1, len(input_shape)):
            raise ValueError(
                f"{self.name}: expected axis -1, the channels, or {len(input_shape)}, which is the same for samples of shape "
                f"{input_shape}, got {self.axis!r}."
            )
        return input_shape

    def declare(self, input_shape: Shape) -> None:
        shape = input_shape[-1:]
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_parameter("gamma", shape, self.gamma_initializer, self.gamma_regularizer)
        if self.center:
            self.beta = self.add_parameter("beta", shape, self.beta_initializer, self.beta_regularizer)
        self.moving_mean = self.add_parameter(
            "moving_mean", shape, self.moving_mean_initializer, trains=False
        )
        self.moving_variance = self.add_parameter(
            "moving_variance", shape, self.moving_variance_initializer, trains=False
        )

    def stages(self) -> list[Stage]:
        assert self.input_shape is not None
        sample = image_shape(self.input_shape)
        return [
            NormalizationStage(
                sample,
                sample,
                self.gamma,
                self.beta,
                self.moving_mean,
                self.moving_variance,
                float(self.epsilon),
                float(self.momentum),
            )
        ]

    def get_config(self) -> dict[str, Any]:
        return {
            "axis": self.axis,
            "momentum": float(self.momentum),
            "epsilon": float(self.epsilon),
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
            "beta_regularizer": regularizers.serialize(self.beta_regularizer),
            "gamma_regularizer": regularizers.serialize(self.gamma_regularizer),
            **super().get_config(),
        }
