"""The ops on NVIDIA GPUs. Imported when a GPU is first asked for: the CPU's ops never import numba-cuda."""
