"""What programs do around their launches: bring numbers to the device, and say which have changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cnnlite.engine.stages import NormalizationStage, Stage
from cnnlite.mirrored import Mirrored
from cnnlite.parameters import Parameter


def weights_of(stages: Sequence[Stage]) -> list[Mirrored]:
    """The buffers that the stages' weights lie in."""
    return _buffers(parameter for stage in stages for parameter in stage.parameters)


def statistics_of(stages: Sequence[Stage]) -> list[Mirrored]:
    """The buffers in which a forward pass moves means and variances."""
    normalizations = [stage for stage in stages if isinstance(stage, NormalizationStage) and stage.batch]
    return _buffers(parameter for stage in normalizations for parameter in (stage.mean, stage.variance))


def _buffers(parameters: Iterable[Parameter]) -> list[Mirrored]:
    stores = [parameter.store for parameter in parameters]
    return list({id(store): store.values for store in stores if store is not None}.values())


def fetch(device: Any, numbers: Iterable[Mirrored]) -> None:
    """Brings what was changed elsewhere to a device, where launches read it."""
    for one in numbers:
        one.on(device)


def changed(device: Any, numbers: Iterable[Mirrored]) -> None:
    """Says that a device has changed them."""
    for one in numbers:
        one.changed(device)
