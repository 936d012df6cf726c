"""The public ops, one a file (a forward pass and its gradients together): check, allocate, dispatch."""
