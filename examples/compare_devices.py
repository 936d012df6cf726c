"""The same convolution on the CPU and on a GPU, NumPy arrays in and out, and what `device="auto"` would choose.

Without a GPU the last line says which piece is missing. bench/compare_devices.py does this for every op and size.
"""

import time

import numpy as np

import cnnlite_kernels as ck

x = np.random.rand(64, 56, 56, 64).astype(np.float32)
w = np.random.rand(3, 3, 64, 64).astype(np.float32)


def milliseconds(device):
    """Of one call, after one that compiles the kernel; the fastest of five."""
    times = []
    for _ in range(6):
        begun = time.perf_counter()
        ck.conv2d(x, w, padding="same", activation="relu", device=device)
        times.append(time.perf_counter() - begun)
    return 1000 * min(times[1:])


print(f"CPU: {milliseconds('cpu'):.1f} ms")
print(ck.explain("conv2d", x.shape, w.shape, padding="same"))
try:
    print(f"GPU, with the way there and back: {milliseconds('cuda'):.1f} ms")
except RuntimeError as problem:
    print(problem)
