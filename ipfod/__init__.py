"""ipfod keeps virtual IP addresses alive on bare-metal Linux nodes."""

__version__ = "0.1.0"
