"""The HTTP API and the page; imported only where they are configured."""
