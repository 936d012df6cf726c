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
SIGNED, FLOAT = 0, 2  # codes of a dtype
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


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _delete(managed: int) -> None:
    """Called by whoever took the memory, when it is done with it."""
    _alive.pop(managed, None)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _destroy(capsule: int) -> None:
    """Called when a capsule ends: nobody else frees what nobody took."""
    if _is_valid(capsule, UNUSED):
        _alive.pop(_pointer(capsule, UNUSED), None)


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


def capsule(
    address: int, shape: tuple[int, ...], dtype: np.dtype, device: tuple[int, int], owner: Any
) -> Any:
    """A capsule for a C-contiguous array.

    Args:
        address: of the first element.
        dtype: of floats or signed integers.
        device: (kind, number), as __dlpack_device__ returns it.
        owner: kept alive until the consumer is done.
    """
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    strides = (ctypes.c_int64 * len(shape))(*(math.prod(shape[axis + 1 :]) for axis in range(len(shape))))
    code = FLOAT if dtype.kind == "f" else SIGNED
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
