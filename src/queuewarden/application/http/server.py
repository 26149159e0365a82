"""The server: listens inside the daemon's own loop; whatever fails there ends there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuewarden.application.station import Station
    from queuewarden.settings.configuration import HttpConfig


class Server:
    """Serves the API and the page of a station at one address."""

    def __init__(self, config: HttpConfig, station: Station) -> None:
        self.config = config
        self._station = station

    def start(self) -> None:
        """Begin to listen, and try for as long as it takes."""

    async def close(self) -> None:
        """End all answers and give the address back."""
