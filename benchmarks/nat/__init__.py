"""Parts of bench_nat.py."""
