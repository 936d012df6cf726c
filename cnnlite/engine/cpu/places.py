"""Where numbers of parameters are: their values, and their gradients in a part's own buffer."""

from __future__ import annotations

from typing import NamedTuple

from cnnlite.parameters import Layout, Parameter
from cnnlite_kernels.cpu.memory import NOWHERE, Base, Pointer, pointer_to


def where(parameter: Parameter) -> Pointer:
    """Where a parameter's values are."""
    return pointer_to(parameter.value)


def where_given(parameter: Parameter | None) -> Pointer | None:
    """Where its values are, if there is one."""
    return None if parameter is None else where(parameter)


class Places(NamedTuple):
    """Where a part's gradients go: the layout of the parameters that are trained, at Base.GRADS; added to what is there or not."""

    layout: Layout
    accumulate: bool = False

    def of(self, parameter: Parameter | None, item: int) -> Pointer:
        """The place of a parameter's gradient, NOWHERE if it is not trained."""
        if parameter is None or parameter not in self.layout:
            return NOWHERE
        return Pointer(Base.GRADS, self.layout.place(parameter) * item)
