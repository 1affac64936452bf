"""Parts of scripts/benchmarks/bench_accuracy.py; `rivals` runs in an environment without spa."""
