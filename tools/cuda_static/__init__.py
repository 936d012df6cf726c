"""What the compiler and the disassembler tell about the CUDA kernels, without a GPU: budgets, and bench/cuda_static.md."""
