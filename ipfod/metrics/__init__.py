"""Metrics for Prometheus: what is counted, a snapshot of the node, and the text of it over HTTP."""
