"""What pytest leaves out where numba-cuda is not installed: modules that cannot be imported without it."""

import importlib.util

collect_ignore_glob = (
    []
    if importlib.util.find_spec("numba_cuda")
    else ["kernels/cnnlite_kernels/cuda/*", "cnnlite/engine/cuda/*"]
)
