"""Numbers that are on the host and on whatever device works on them: copied only when somebody needs what somebody else changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnlite.engine.exclusive import Exclusive


def aligned_zeros(count: int, dtype: Any) -> np.ndarray:
    """Zeros that begin on a cache line."""
    dtype = np.dtype(dtype)
    room = np.zeros(count * dtype.itemsize + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + count * dtype.itemsize].view(dtype)


class _Mirror:
    """The numbers on one device, and which version of them."""

    def __init__(self, array: Any, version: int) -> None:
        self.array, self.version = array, version


class Mirrored:
    """A flat array on the host, (count,), and its mirrors on devices, made when a device first asks.

    Whoever writes calls `changed` afterwards; whoever reads gets the newest numbers, copied if they are elsewhere. An array once
    given out stays the place of the numbers: programs may keep its address. A copy of a Mirrored is on the host alone.

    Attributes:
        version: counts changes, wherever they were made.

    >>> numbers = Mirrored(3, "float32")
    >>> numbers.write(1, [5.0, 6.0])
    >>> numbers.host.tolist(), numbers.version
    ([0.0, 5.0, 6.0], 1)
    """

    def __init__(self, count: int, dtype: Any) -> None:
        self._host = aligned_zeros(count, dtype)
        self.size, self.dtype = count, self._host.dtype
        self.version = self._host_version = 0
        self._mirrors: dict[Any, _Mirror] = {}
        self._exclusive = Exclusive()

    def __getstate__(self) -> dict[str, Any]:
        return {"host": self.host, "version": self.version}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["host"].size, state["host"].dtype)  # type: ignore[misc]
        self._host[:] = state["host"]
        self.version = self._host_version = state["version"]

    @property
    def host(self) -> np.ndarray:
        """The newest numbers, in the host's memory: always the same array."""
        if self._host_version != self.version:
            self._download()
        return self._host

    def _download(self) -> None:
        with self._exclusive:
            for device, mirror in self._mirrors.items():
                if self._host_version != self.version and mirror.version == self.version:
                    device.download(mirror.array, self._host)
                    device.synchronize()
                    self._host_version = mirror.version

    def on(self, device: Any) -> Any:
        """The newest numbers, in a device's memory: always the same array for the same device."""
        mirror = self._mirrors.get(device)
        if mirror is None or mirror.version != self.version:
            mirror = self._upload(device)
        return mirror.array

    def _upload(self, device: Any) -> _Mirror:
        with self._exclusive:
            if device not in self._mirrors:
                self._mirrors[device] = _Mirror(device.empty(self.size, self.dtype), -1)
            mirror = self._mirrors[device]
            if mirror.version != self.version:
                version = self.version
                if self.size:
                    device.upload(self.host, mirror.array)
                mirror.version = version
            return mirror

    def changed(self, device: Any = None) -> None:
        """Says that the numbers on a device, or on the host, were just changed: those elsewhere are old now."""
        self.version += 1
        if device is None:
            self._host_version = self.version
        else:
            self._mirrors[device].version = self.version

    def write(self, first: int, numbers: Any) -> None:
        """Changes the numbers from `first` on, in every place that has the newest: nothing else is copied."""
        numbers = np.ascontiguousarray(numbers, self.dtype).reshape(-1)
        part = slice(first, first + numbers.size)
        with self._exclusive:
            newest = [
                (device, mirror) for device, mirror in self._mirrors.items() if mirror.version == self.version
            ]
            on_host = self._host_version == self.version
            self.version += 1
            if on_host:
                self._host[part] = numbers
                self._host_version = self.version
            for device, mirror in newest:
                if numbers.size:
                    device.upload(numbers, mirror.array[part])
                mirror.version = self.version

    @property
    def device(self) -> Any:
        """The device that alone has the newest numbers; None where the host has them too."""
        if self._host_version == self.version:
            return None
        return next(device for device, mirror in self._mirrors.items() if mirror.version == self.version)
