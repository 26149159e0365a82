"""All kinds of faults, by name: importing a module of kinds enters its kinds."""

from __future__ import annotations

from faults.kinds import daemons, locks, network, server, workers
from faults.kinds.kind import KINDS

__all__ = ["KINDS", "daemons", "locks", "network", "server", "workers"]
