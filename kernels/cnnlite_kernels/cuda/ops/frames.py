"""zero_padding2d and cropping2d on arrays."""

from __future__ import annotations

from typing import Any

from cnnlite_kernels.cuda import frames as emit
from cnnlite_kernels.cuda.ops.job import Job


def frame(device: Any, x: Any, out: Any, margins: emit.Margins) -> None:
    """out = x with margins of zeros around it; negative ones are cut off."""
    job = Job("frame", device, x, out)
    n, h, w, c = x.shape
    emit.add_forward(job.plan, margins, n, h, w, c, job.read(x), job.write(out), aligned=job.aligned)
    job.run()
