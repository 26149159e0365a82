"""What a queue is: its mapping, its SQL terms, its moves, and the presets. Pure."""
