"""Health checks of this node: TCP port, script, and the kernel's word that a listener is gone."""
