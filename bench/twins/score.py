"""Measures samples of examples/gan.py's PyTorch twin as the example measures its own.

PYTHONPATH=.:kernels python bench/twins/score.py gan_torch_0.npy
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from cnnlite import datasets

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
gan = import_module("gan")

(train, labels), (test, _) = datasets.fashion_mnist.load_data()
images, test_images = (x[..., None] / np.float32(255) for x in (train, test))
ruler = gan.Ruler(images, labels, epochs=gan.EPOCHS_OF_RULER)
for path in sys.argv[1:]:
    ruler.report(path, np.load(path), test_images[: len(test) // 2])
