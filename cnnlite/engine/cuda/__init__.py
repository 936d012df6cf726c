"""The engine on a GPU: stages emitted into plans of launches over the whole batch, with all memory taken beforehand."""
