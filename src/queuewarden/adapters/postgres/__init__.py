"""PostgreSQL's own programs: where they are, and a private server made of them."""

from queuewarden.adapters.postgres.binaries import REMEDY, Binaries, find_binaries, require_binaries
from queuewarden.adapters.postgres.server import Server

__all__ = ["REMEDY", "Binaries", "Server", "find_binaries", "require_binaries"]
