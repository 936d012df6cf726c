"""A DLPack capsule for memory of ours: how an array goes to another library without a copy.

The structures are those of dlpack.h, https://dmlc.github.io/dlpack/latest/c_api.html, in the form without a version, which every
consumer takes.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

CPU, CUDA, CUDA_MANAGED = 1, 2, 13  # kinds of device
CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}  # of dtypes, by their kinds in NumPy
UNUSED = b"dltensor"  # a capsule's name until a consumer takes what is in it


class Device(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int32), ("number", ctypes.c_int32)]


class DataType(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device", Device),
        ("ndim", ctypes.c_int32),
        ("dtype", DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),  # in elements
        ("byte_offset", ctypes.c_uint64),
    ]


class Managed(ctypes.Structure):
    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


_alive: dict[int, tuple[Any, ...]] = {}
"""What each structure that is out there points to, by its address."""


# Prototypes of our own: those of ctypes.pythonapi are everybody's, and a capsule that ends must not be counted again.
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


# What these two use is bound to them, and one more reference keeps them for ever: a consumer may call them while Python ends, when
# this module's names are gone.


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _delete(managed: int, alive: dict = _alive) -> None:
    """Called by whoever took the memory, when it is done with it."""
    alive.pop(managed, None)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _destroy(
    capsule: int,
    alive: dict = _alive,
    is_valid: Any = _is_valid,
    pointer: Any = _pointer,
    name: bytes = UNUSED,
) -> None:
    """Called when a capsule ends: nobody else frees what nobody took."""
    if is_valid(capsule, name):
        alive.pop(pointer(capsule, name), None)


_keep = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_IncRef", ctypes.pythonapi))
_keep(_delete)
_keep(_destroy)


def capsule(
    address: int, shape: tuple[int, ...], dtype: np.dtype, device: tuple[int, int], owner: Any
) -> Any:
    """A capsule for a C-contiguous array.

    Args:
        address: of the first element.
        dtype: of a kind in CODES, in native byte order.
        device: (kind, number), as __dlpack_device__ returns it.
        owner: kept alive until the consumer is done.

    Raises:
        BufferError: another dtype.
    """
    if dtype.kind not in CODES or not dtype.isnative:
        raise BufferError(f"DLPack has no dtype {dtype}; convert the array first.")
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    strides = (ctypes.c_int64 * len(shape))(*(math.prod(shape[axis + 1 :]) for axis in range(len(shape))))
    code = CODES[dtype.kind]
    managed = Managed(
        Tensor(
            address, Device(*device), len(shape), DataType(code, 8 * dtype.itemsize, 1), sizes, strides, 0
        ),
        None,
        ctypes.cast(_delete, ctypes.c_void_p),
    )
    where = ctypes.addressof(managed)
    _alive[where] = (managed, sizes, strides, owner)
    return _new(where, UNUSED, ctypes.cast(_destroy, ctypes.c_void_p))
