"""From configuration to groups, virtual router IDs and priorities. Pure: no I/O, no clock, no logging."""
