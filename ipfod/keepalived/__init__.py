"""Driving keepalived: its configuration, notification FIFO, track files and process."""
