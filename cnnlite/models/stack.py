"""A stack of layers: what it holds, its shapes and its weights. Training and prediction build on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cnnlite import naming, seeds
from cnnlite.engine.stages import INPUT
from cnnlite.layers import Input, Layer
from cnnlite.layers.layer import as_shape, assign_all
from cnnlite.models import mixed
from cnnlite.models.placing import device_for
from cnnlite.parameters import Parameter, Store

DTYPES = ("float32", "float64")


class Stack:
    """Layers one after the other, of which some (`Add`, `Concatenate`) read outputs of others further back.

    Args:
        layers: layers, with an `Input` first if no layer was given an input_shape; more can be added.
        name: default: sequential, sequential_1, ...
        dtype: "float32" or "float64", of weights and activations.
        device: None or "cpu", "cuda" or "cuda:N", or "auto" for a GPU where there is one.
        mixed_precision: None or "bfloat16", see the property.

    Attributes:
        device: as given; `to` changes it.
    """

    def __init__(
        self,
        layers: Iterable[Any] | None = None,
        name: str | None = None,
        *,
        dtype: str = "float32",
        device: str | None = None,
        mixed_precision: str | None = None,
    ) -> None:
        self.dtype = _dtype(dtype, type(self).__name__)
        self.name = name or naming.default_name(type(self))
        self._place(device, type(self).__name__)
        self._mixed_precision = mixed.checked(mixed_precision, self.dtype, type(self).__name__)
        self.layers: list[Layer] = []
        self.input_shape: tuple[int, ...] | None = None
        self.built = False
        self._network: Any = None
        if isinstance(layers, Layer):
            raise TypeError(
                f"{self.name}: expected a list of layers, got one layer; put it in a list: [{layers.name}]."
            )
        if layers is not None and not isinstance(layers, Iterable):
            raise TypeError(
                f"{self.name}: expected a list of layers, got {layers!r}; a model's are model.layers."
            )
        for layer in layers or []:
            self.add(layer)

    def __getstate__(self) -> dict[str, Any]:
        """A copy has no programs, which hold addresses; it makes its own when first needed."""
        return {**self.__dict__, "_network": None}

    # device

    def to(self, device: str | None) -> Any:
        """Moves the model: from now on it runs on another device. Weights and the optimizer's state follow when they are needed.

        Args:
            device: None or "cpu", "cuda" or "cuda:N" (float32 alone), or "auto" for a GPU where there is one.

        Returns:
            The model itself.

        Raises:
            ValueError: another name. RuntimeError: a GPU that is not there. TypeError: a model of float64 on a GPU.

        >>> from cnnlite import layers, models
        >>> models.Sequential([layers.Input((4,)), layers.Dense(2)]).to("cpu").device
        'cpu'
        """
        if device != self.device:
            self._place(device, self.name)
            self.forget()
        return self

    def _place(self, device: str | None, who: str) -> None:
        """Sets the device after checking that it is there and takes the model's dtype."""
        if device == "auto" and self.dtype != np.float32:
            device = "cpu"
        if device_for(device, who) is not None and self.dtype != np.float32:
            raise TypeError(
                f'{who}: expected dtype float32 for device "{device}", got {self.dtype}; GPUs multiply matrices in float32 here: '
                'leave dtype out, or use device="cpu".'
            )
        self.device = device

    # precision

    @property
    def mixed_precision(self) -> str | None:
        """None, or "bfloat16": what Keras calls the policy "mixed_bfloat16". May be set at any time; `compile` can do so too.

        None follows `cnnlite.set_matmul_precision`, which is float32 unless somebody says otherwise.

        With "bfloat16" the layers with weights multiply numbers that are rounded to bfloat16 (7 bits of fraction, float32's range),
        wherever the device has instructions for that and they are faster. Everything else stays float32: the weights that the
        optimizer moves and that are saved, its state, sums, biases, activation functions, losses, and what `predict` returns.

        A processor without AVX512-BF16 and AMX, or a GPU below compute capability 8.0, computes in float32 and warns once.

        Raises:
            ValueError: another word. TypeError: a model of float64.

        >>> from cnnlite import layers, models
        >>> model = models.Sequential([layers.Input((4,)), layers.Dense(2)], mixed_precision="bfloat16")
        >>> model.mixed_precision, model.get_weights()[0].dtype.name
        ('bfloat16', 'float32')
        """
        return self._mixed_precision

    @mixed_precision.setter
    def mixed_precision(self, mixed_precision: str | None) -> None:
        wanted = mixed.checked(mixed_precision, self.dtype, self.name)
        if wanted != self._mixed_precision:
            self._mixed_precision = wanted
            self.forget()

    # layers

    def add(self, layer: Any) -> None:
        """Puts a layer on top.

        Raises:
            TypeError: not a layer. ValueError: a name that is there already, one to join that is not, shapes that do not fit.
        """
        if isinstance(layer, Input):
            if self.layers or self.input_shape:
                raise ValueError(f"{self.name}: expected Input as the first entry only.")
            self.input_shape = layer.shape
            return
        if isinstance(layer, type) and issubclass(layer, Layer):
            raise TypeError(
                f"{self.name}: expected a layer, got the class {layer.__name__}; call it: {layer.__name__}(...)."
            )
        if isinstance(layer, Stack):
            raise TypeError(
                f"{self.name}: expected a layer of cnnlite.layers, got the model {layer.name}; add its layers one by one, "
                "which shares their weights: for layer in other.layers: model.add(layer)."
            )
        if not isinstance(layer, Layer):
            raise TypeError(f"{self.name}: expected a layer of cnnlite.layers, got {type(layer).__name__}.")
        if any(other.name == layer.name for other in self.layers):
            raise ValueError(
                f"{self.name}: there is a layer named {layer.name!r} already; give this one another name."
            )
        if layer.name == INPUT:
            raise ValueError(
                f"{self.name}: {INPUT!r} names what the network is given; give this layer another name."
            )
        known = [INPUT, *(other.name for other in self.layers)]
        for source in layer.sources:
            if source not in known:
                raise ValueError(
                    f"{self.name}: expected {layer.name} to join layers that are there before it, one of {known}, got {source!r}."
                )
        if layer.dtype is not None and _dtype(layer.dtype, layer.name) != self.dtype:
            raise ValueError(
                f"{self.name}: expected layers of dtype {self.dtype}, got {layer.name} of {layer.dtype}; give the model the dtype: "
                f'Sequential(..., dtype="{layer.dtype}").'
            )
        given = self.input_shape
        if not self.layers and given is None:
            given = layer.given_input_shape or layer.input_shape
        shapes = {INPUT: given, **{other.name: other.output_shape for other in self.layers}}
        before, *sources = (shapes[name] for name in (known[-1], *layer.sources))
        if before is not None and None not in sources:
            layer.prepare(before, sources)  # type: ignore[arg-type]
        if not self.layers:
            self.input_shape = given
        self.layers.append(layer)
        self._changed()

    def pop(self) -> Layer:
        """Takes the last layer off and returns it."""
        if not self.layers:
            raise ValueError(f"{self.name}: has no layers.")
        layer = self.layers.pop()
        self._changed()
        return layer

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of a name or at an index.

        Raises:
            ValueError: none such; the message lists the names.
        """
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(f"{self.name}: expected an index below {len(self.layers)}, got {index}.")
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(
            f"{self.name}: has no layer {name!r}; it has {[layer.name for layer in self.layers]}."
        )

    def _changed(self) -> None:
        self.built = False
        self.forget()

    def forget(self) -> None:
        """Drops everything that was made to run the layers as they were."""
        self._network = None

    # shapes and weights

    def build(self, input_shape: Any = None) -> None:
        """Makes the weights. A model whose input shape is known does so by itself when first needed.

        Args:
            input_shape: of one sample, or with a leading None for the batch.
        """
        if self.built:
            return
        self._build(input_shape, seeds.generator())

    def _build(self, input_shape: Any, rng: np.random.Generator | None) -> None:
        """`build`, with first weights from `rng`, or zeros without one."""
        if not self.layers:
            raise ValueError(f"{self.name}: has no layers; add some.")
        shape = self.input_shape
        if shape is None and input_shape is not None:
            shape = as_shape(input_shape, self.name)
        if shape is None:
            raise ValueError(
                f"{self.name}: the input shape is not known; begin with layers.Input(shape), give the first layer an "
                "input_shape, or call build(shape)."
            )
        self._prepare(shape)
        new = [layer for layer in self.layers if not layer.built]
        for layer in self.layers:
            if layer.built and layer.parameters and layer.parameters[0].store.values.dtype != self.dtype:  # type: ignore[union-attr]
                raise ValueError(
                    f"{self.name}: has dtype {self.dtype}, but {layer.name} was built with another."
                )
        parameters = [parameter for layer in new for parameter in layer.parameters]
        if parameters:
            Store(parameters, self.dtype, rng)
        for layer in new:
            layer.built = True
        self.input_shape, self.built = shape, True

    def _prepare(self, shape: tuple[int, ...]) -> None:
        """Fixes the shapes of all layers, or of none: data that do not fit must not spoil the model for data that do."""
        fresh = [layer for layer in self.layers if layer.input_shape is None]
        shapes = {INPUT: shape}
        try:
            for layer in self.layers:
                layer.prepare(shape, [shapes[name] for name in layer.sources])
                assert layer.output_shape is not None
                shape = shapes[layer.name] = layer.output_shape
        except BaseException:
            for layer in fresh:
                layer.forget()
            raise

    @property
    def output_shape(self) -> tuple[int, ...] | None:
        """The shape of one sample's output, without the batch."""
        return self.layers[-1].output_shape if self.layers else self.input_shape

    @property
    def network(self) -> Any:
        """The programs that run this model."""
        if self._network is None:
            from cnnlite.engine.network import Network

            self.build()
            device = device_for(self.device, self.name)
            self._network = Network(self.layers, self.dtype, device, self._mixed_precision)
        return self._network

    @property
    def weights(self) -> list[Parameter]:
        """All parameters, layer by layer."""
        if self.input_shape is not None and self.layers:
            self.build()
        return [parameter for layer in self.layers for parameter in layer.parameters]

    @property
    def trainable_weights(self) -> list[Parameter]:
        """The parameters that training moves: of layers that are not frozen, without moving means and variances."""
        return [parameter for parameter in self.weights if parameter.trainable]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        return [parameter for parameter in self.weights if not parameter.trainable]

    trainable_variables = trainable_weights
    variables = weights

    @property
    def trainable(self) -> bool:
        """Whether any layer is trainable; setting it sets all of them."""
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = bool(value)

    def count_params(self) -> int:
        """The number of weights."""
        return sum(parameter.size for parameter in self.weights)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights, layer by layer, kernel before bias."""
        return [parameter.numpy() for parameter in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets all weights, in the order of `get_weights`.

        Raises:
            ValueError: another number of arrays, or another shape; nothing is changed then.
        """
        assign_all(self.weights, weights, self.name)


def _dtype(dtype: Any, who: str) -> np.dtype:
    """A checked dtype of weights."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = None
    if name not in DTYPES:
        raise ValueError(f"{who}: expected dtype 'float32' or 'float64', got {dtype!r}.")
    return np.dtype(name)
