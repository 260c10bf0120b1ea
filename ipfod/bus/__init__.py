"""The D-Bus service: thin objects over the node's state."""
