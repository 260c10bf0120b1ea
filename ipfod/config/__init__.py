"""Configuration files: one table of options, read from TOML or environment files into a frozen `Failover`."""
