"""What every layer has: a name, a shape in and out, parameters, and the stages it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnlite import initializers, naming, regularizers, seeds
from cnnlite.engine.stages import Stage
from cnnlite.parameters import Parameter, Store

Shape = tuple[int, ...]


class Layer:
    """Base of all layers.

    Args:
        name: default: the class's name in snake case, numbered (conv2d, conv2d_1, ...).
        trainable: whether training changes the weights; may be set at any time.
        input_shape: shape of one sample, for the first layer of a model.
        dtype: "float32" or "float64"; default: the model's.

    Attributes:
        built: whether the shapes are known; input_shape, output_shape: of one sample, without the batch.
        sources: names of the layers before it, or "input", whose outputs it reads besides that of the layer right before it.
    """

    sources: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        input_shape: Sequence[int] | None = None,
        dtype: str | None = None,
        **unknown: Any,
    ) -> None:
        naming.refuse(type(self), unknown)
        if name is not None and (not isinstance(name, str) or not name):
            raise ValueError(f"{type(self).__name__}: expected name as a string, got {name!r}.")
        self.name = name or naming.default_name(type(self))
        self.trainable = trainable
        self.dtype = dtype
        self.built = False
        self.given_input_shape = None if input_shape is None else as_shape(input_shape, self.name)
        self.input_shape: Shape | None = None
        self.output_shape: Shape | None = None
        self.source_shapes: tuple[Shape, ...] = ()
        self.parameters: list[Parameter] = []

    def __call__(self, *inputs: Any) -> Any:
        """Says what to do instead: layers are not called, as they are in Keras's functional models.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"{self.name}: layers are not called; models.Sequential puts each on top of the one before, and layers.Add and "
            "layers.Concatenate name further ones that they read."
        )

    # what a subclass defines

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of one sample's output."""
        raise NotImplementedError(f"{type(self).__name__}: define compute_output_shape.")

    def declare(self, input_shape: Shape) -> None:
        """Declares the parameters with `add_parameter`."""

    def stages(self) -> list[Stage]:
        """The stages of a built layer, in order."""
        raise NotImplementedError(f"{type(self).__name__}: define stages.")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this layer again, fit for JSON."""
        config: dict[str, Any] = {"name": self.name, "trainable": self.trainable}
        if self.given_input_shape is not None:
            config["input_shape"] = list(self.given_input_shape)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        return cls(**config)

    # shapes and parameters

    def add_parameter(
        self,
        name: str,
        shape: Sequence[int],
        initializer: Any,
        regularizer: Any = None,
        trains: bool = True,
    ) -> Parameter:
        """Declares a parameter; `trains`: whether training moves it while the layer is not frozen."""
        parameter = Parameter(
            self, name, shape, initializers.get(initializer), regularizers.get(regularizer), trains
        )
        self.parameters.append(parameter)
        return parameter

    def prepare(self, input_shape: Shape, source_shapes: Sequence[Shape] = ()) -> None:
        """Fixes the shapes and declares the parameters, which have no place yet.

        Args:
            input_shape: of the output of the layer before; source_shapes: of those of its `sources`.
        """
        source_shapes = tuple(source_shapes)
        if self.input_shape is not None:
            known, got = (self.input_shape, *self.source_shapes), (input_shape, *source_shapes)
            if known != got:
                several = len(known) > 1
                raise ValueError(
                    f"{self.name}: was built for inputs of shape{'s' if several else ''} {known if several else known[0]}, "
                    f"got {got if several else got[0]}; a layer that is shared gets the same shape everywhere."
                )
            return
        if self.given_input_shape not in (None, input_shape):
            raise ValueError(
                f"{self.name}: was given input_shape {self.given_input_shape}, but its input has shape {input_shape}."
            )
        self.source_shapes = source_shapes
        self.output_shape = self.compute_output_shape(input_shape)
        self.input_shape = input_shape
        self.declare(input_shape)

    def forget(self) -> None:
        """Takes `prepare` back."""
        self.input_shape = self.output_shape = None
        self.source_shapes = ()
        self.parameters = []

    def build(self, input_shape: Sequence[int]) -> None:
        """Makes the weights of a layer that stands alone; a model builds its layers itself.

        Args:
            input_shape: of one sample, or with a leading None for the batch, as Keras writes it.
        """
        self.prepare(as_shape(input_shape, self.name))
        if not self.built:
            Store(self.parameters, self.dtype or "float32", seeds.generator())
            self.built = True

    # what a user reads

    @property
    def weights(self) -> list[Parameter]:
        """All parameters: kernel, bias."""
        return list(self.parameters)

    @property
    def trainable_weights(self) -> list[Parameter]:
        return [parameter for parameter in self.parameters if parameter.trainable]

    @property
    def non_trainable_weights(self) -> list[Parameter]:
        return [parameter for parameter in self.parameters if not parameter.trainable]

    def count_params(self) -> int:
        """The number of weights."""
        return sum(parameter.size for parameter in self.parameters)

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the weights, kernel first."""
        return [parameter.numpy() for parameter in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets all weights, in the order of `get_weights`.

        Raises:
            ValueError: another number of arrays, or another shape; nothing is changed then.
        """
        assign_all(self.weights, weights, self.name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


def assign_all(parameters: Sequence[Parameter], weights: Sequence[Any], who: str) -> None:
    """Assigns arrays to parameters after all shapes have been checked."""
    arrays = [np.asarray(array) for array in weights]
    wanted = [parameter.shape for parameter in parameters]
    got = [array.shape for array in arrays]
    if wanted != got:
        different = next((i for i, (a, b) in enumerate(zip(wanted, got, strict=False)) if a != b), None)
        detail = (
            f"{len(wanted)} arrays, got {len(got)}"
            if different is None
            else f"{parameters[different].path} of shape {wanted[different]}, got {got[different]}"
        )
        raise ValueError(f"{who}: set_weights expected {detail}; get_weights() shows the order.")
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.assign(array)


def as_shape(shape: Any, who: str) -> Shape:
    """One sample's shape as a tuple; a leading None (the batch) is dropped."""
    try:
        sizes = list(shape)
    except TypeError:
        sizes = [shape]
    if sizes and sizes[0] is None:
        sizes = sizes[1:]
    ok = [isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size > 0 for size in sizes]
    if not sizes or not all(ok):
        raise ValueError(
            f"{who}: expected input_shape as positive integers without the batch, say (28, 28, 1), got {shape!r}."
        )
    return tuple(int(size) for size in sizes)


def check_rank(shape: Shape, rank: int, who: str, meaning: str) -> None:
    """ValueError unless a sample has this many axes."""
    if len(shape) != rank:
        raise ValueError(
            f"{who}: expected samples of {rank} axes {meaning}, got shape {shape}"
            + ("; add the channel axis: x[..., None]." if rank == 3 and len(shape) == 2 else ".")
        )


def check_data_format(data_format: Any, who: str) -> None:
    """ValueError unless the channels come last, as they do everywhere here."""
    if data_format not in (None, "channels_last"):
        raise ValueError(f'{who}: expected data_format "channels_last", got {data_format!r}.')


def positive_int(value: Any, name: str, who: str) -> int:
    """`value` as an int of at least 1, or ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{who}: expected {name} as a positive integer, got {value!r}.")
    return int(value)
