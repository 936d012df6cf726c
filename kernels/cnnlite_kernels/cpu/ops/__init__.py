"""The ops on the CPU: how each is cut into parts, and the jobs that are kept from call to call."""
