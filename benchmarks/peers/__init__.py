"""Timing pycylon against the engines that people would use instead; `bench_peers.py` is the program."""
