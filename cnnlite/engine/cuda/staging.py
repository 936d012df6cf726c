"""What travels between host and device each step: one piece of pinned memory with a twin on the device, moved in one copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

ALIGNMENT = 256  # bytes: that of the device's own allocations


class Field(NamedTuple):
    """`size` numbers of a dtype that travel under a name."""

    name: str
    size: int
    dtype: str

    @property
    def nbytes(self) -> int:
        return self.size * np.dtype(self.dtype).itemsize


class Staging:
    """Arrays on the host (pinned) and their twins on a device, each in one piece.

    Args:
        sides: pieces on the host that take turns, so that one can be filled while another is still being copied.

    Attributes:
        hosts: for each side flat arrays by the names of the fields; device: their twins.
    """

    def __init__(self, device: Any, fields: list[Field], sides: int = 1) -> None:
        offsets, size = [], 0
        for field in fields:
            offsets.append(size)
            size += -(-field.nbytes // ALIGNMENT) * ALIGNMENT
        places = {
            field.name: (slice(first, first + field.nbytes), np.dtype(field.dtype))
            for field, first in zip(fields, offsets, strict=True)
        }

        def views(piece: Any) -> dict[str, Any]:
            return {name: piece[where].view(dtype) for name, (where, dtype) in places.items()}

        self._device, self._there = device, device.empty(size, np.uint8)
        self._here = [device.host(size, np.uint8) for _ in range(sides)]
        for piece in self._here:
            piece[:] = 0
        self.hosts: list[dict[str, np.ndarray]] = [views(piece) for piece in self._here]
        self.device: dict[str, Any] = views(self._there)

    @property
    def host(self) -> dict[str, np.ndarray]:
        """The arrays of the first side."""
        return self.hosts[0]

    def upload(self, side: int = 0) -> None:
        """Asks for a copy of a side to the device; it must stay as it is until the device has come so far."""
        self._device.upload(self._here[side], self._there)

    def download(self, side: int = 0) -> None:
        """Asks for a copy of the device's piece to a side, which has it when the device has come so far."""
        self._device.download(self._there, self._here[side])


def zeros(device: Any, count: int) -> Any:
    """`count` zeros of a device, float32."""
    array = device.empty(count, np.float32)
    device.upload(np.zeros(count, np.float32), array)
    return array


def milestone(device: Any) -> Callable[[], None]:
    """What waits until a device has done all that was asked of it so far."""
    event = getattr(device, "event", None)
    return device.synchronize if event is None else event().wait
