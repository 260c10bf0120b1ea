"""Tests on booted systemd nodes: what makes the nodes, and what is tried on them."""
