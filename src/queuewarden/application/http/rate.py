"""Rate: how often one client may ask; a bucket of tokens for each."""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

CLIENTS = 10_000
"""Clients that are remembered; of more, the ones that asked longest ago are forgotten."""

_NETWORK = 64
"""Bits of an IPv6 address that are one client: the rest of it is anybody's own to choose."""


class Buckets:
    """The buckets of all clients.

    Args:
        rate: tokens a second that flow into each.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = 2.0 * rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float, now: float) -> float:
        """Take tokens for a request; 0.0, or the seconds after which there will be enough of them."""
        tokens, at = self._buckets.pop(client, (self._most, now))
        tokens = min(self._most, tokens + (now - at) * self._rate)
        lacking = max(cost - tokens, 0.0)
        self._buckets[client] = (tokens if lacking else tokens - cost, now)
        if len(self._buckets) > CLIENTS:
            self._buckets.popitem(last=False)
        return lacking / self._rate


@lru_cache(maxsize=1024)
def client_of(host: str) -> str:
    """Who stands behind a peer's address: all addresses of one IPv6 network are one client."""
    if ":" not in host:
        return host
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{int(address) >> _NETWORK:x}/64"
