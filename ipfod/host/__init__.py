"""One module per facility of the operating system. Knows nothing of failover."""
