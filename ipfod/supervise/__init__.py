"""What runs while ipfod runs: one supervisor for each failover, the wire, configuration put into force."""
