"""``queuewarden top``: the databases watched live, from a terminal, without a daemon."""
