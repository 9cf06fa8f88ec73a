"""Communication benchmarks: how they are run, and what is made of the figures."""
