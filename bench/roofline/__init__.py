"""What the machine can do at most, and what share of it each kernel reaches: the parts of `pytest bench`."""
