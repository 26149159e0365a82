"""A look at a database that nobody has mapped yet: read-only, bounded, whatever its size."""
