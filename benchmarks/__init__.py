"""What `make bench` measures: `python -m benchmarks` prints the table of docs/results/bench.md."""
