"""The pages and pictures that bench/report.py makes of saved runs."""
