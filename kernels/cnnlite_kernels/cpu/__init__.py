"""The CPU kernels: one file per op, over one microkernel (tile.py), compiled and cached by jit.py, run by plan.py."""
