"""The engine on the CPU: stages emitted into plans of kernels, run by a team of threads, each on its part of the batch."""
