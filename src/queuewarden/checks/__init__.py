"""The checks: one duty a file, pure. They say what is wrong and what to write; the engine does it."""
