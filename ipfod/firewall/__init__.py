"""Rules that let VRRP through, in the chain that would drop it."""
