"""The text that Prometheus reads, rendered in parts: a part that did not change is not rendered again.

A sample costs microseconds, so that a hundred environments at once would hold the event loop up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

Part = dict[bytes, bytes]
"""The samples of each metric, under its HELP and TYPE lines."""


def part(collector: Collector) -> Part:
    """Render all that a collector has."""
    # A line break in a label is escaped, so that this is always the beginning of a metric.
    blocks = (b"\n" + generate_latest(collector)).split(b"\n# HELP ")[1:]
    cut: Part = {}
    for block in blocks:
        lines = block.split(b"\n", 2)
        cut[b"# HELP %b\n%b\n" % (lines[0], lines[1])] = lines[2].rstrip(b"\n") + b"\n"
    return cut


def merged(parts: Iterable[Mapping[bytes, bytes]]) -> bytes:
    """One text of many parts: each metric once, with the samples of all."""
    together: dict[bytes, list[bytes]] = {}
    for one in parts:
        for head, samples in one.items():
            together.setdefault(head, []).append(samples)
    pieces = [piece for head, samples in together.items() for piece in (head, *samples)]
    return b"".join(pieces)
