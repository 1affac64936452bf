"""Parts of scripts/bench_accuracy.py; `rivals` runs in an environment without spa."""
