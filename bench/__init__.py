"""Measures the server and its peers on this machine, in the same run. Started by `bin/bench`; see docs/benchmarks.md."""
