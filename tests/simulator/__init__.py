"""A world in which everything goes wrong, and a delivery's core in it: see `nox -s simulate`."""
