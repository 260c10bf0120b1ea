"""Makes the manual pages and the list of messages from the sources. Needed to build the package; not in it."""
