"""Between layers and kernels: layers become stages, stages are fused, emitted into plans, and run in parts of a batch."""
