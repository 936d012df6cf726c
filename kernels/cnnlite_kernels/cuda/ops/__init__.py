"""The ops on arrays: each plans its launches and runs them, with copies to the GPU and back where arrays are NumPy's."""
