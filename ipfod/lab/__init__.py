"""Nodes in network namespaces on this machine: what `make run`, tests and benchmarks stand on."""

from __future__ import annotations

from ipfod.lab.demonstration import main
from ipfod.lab.lab import Lab
from ipfod.lab.node import Node

__all__ = ["Lab", "Node", "main"]
