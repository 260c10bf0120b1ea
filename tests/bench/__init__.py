"""The benchmark, `make bench`: ipfod's speed and size beside plain keepalived and the original."""
