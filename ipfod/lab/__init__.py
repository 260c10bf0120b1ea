"""Nodes in network namespaces: what the demonstration, tests and benchmarks stand on."""
