"""The parts of bench/compare_devices.py."""
