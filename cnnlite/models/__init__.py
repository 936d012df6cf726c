"""Models: `Sequential`, and loading what it saved."""

from cnnlite.models.saving import load_model
from cnnlite.models.sequential import Sequential

__all__ = ["Sequential", "load_model"]
