"""From environment, file and credentials to frozen values."""
