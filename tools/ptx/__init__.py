"""An interpreter of the PTX that numba-cuda emits, over all threads at once: what a kernel computes, and how it treats memory."""
