"""The array types that the batch readers pass around."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

AnyArray: TypeAlias = NDArray[Any]
Indices: TypeAlias = "slice | NDArray[np.intp]"
