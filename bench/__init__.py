"""Measures the server and its peers on this machine, in the same run. `bin/bench` starts it; see docs/benchmarks.md."""
