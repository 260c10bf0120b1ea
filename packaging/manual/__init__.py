"""Makes the manual pages of the sources. Needed to build the package; not in it."""
