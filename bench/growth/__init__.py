"""How speed and cost grow with threads, batches, images and channels: the parts of bench/scaling.py."""
