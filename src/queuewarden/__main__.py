"""``python -m queuewarden``: the same as the command ``queuewarden``."""

from queuewarden.application.cli import main

if __name__ == "__main__":
    main()
