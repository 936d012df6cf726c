"""Names of numbers that both a model (which must not import Numba) and the kernels know."""

OPTIMIZER = ("rate", "momentum", "nesterov", "beta_1", "beta_2", "rho", "epsilon", "weight_decay", "steps")
"""What an optimizer's kernel reads from one row of float64, which may change from step to step; `steps` counts from 1."""

SQUARED, BINARY, BINARY_LOGITS, ABSOLUTE, DIVERGENCE, HINGE, HUBER = range(7)
"""Kinds of elementwise loss."""
