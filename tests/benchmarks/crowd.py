"""A crowd at the API, as a process of its own: so many event streams, so many requests a second.

It speaks HTTP by hand: a client library would cost more of the two cores than the server that is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter

PATHS = ("/api/status", "/metrics", "/api/stats", "/api/alerts", "/api/findings")
CONNECTIONS = 40
"""Over which the requests are made, one at a time on each."""


async def stream(port: int) -> int:
    """Listen to events until the process is told to end; how many came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    events = 0
    try:
        while line := await reader.readline():
            events += line.startswith(b"event:")
    except asyncio.CancelledError:
        writer.close()
    return events


async def ask(port: int, paths: asyncio.Queue[str], answers: Counter[int], took: list[float]) -> None:
    """Make the requests that come through a queue."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        path = await paths.get()
        begun = time.perf_counter()
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].split(b"\r\n", 1)[0]
        await reader.readexactly(int(length))
        answers[int(head.split(None, 2)[1])] += 1
        took.append(time.perf_counter() - begun)


async def crowd(port: int, streams: int, rate: float) -> dict[str, object]:
    """Until standard input ends: what came of it."""
    listening = [asyncio.create_task(stream(port)) for _ in range(streams)]
    paths: asyncio.Queue[str] = asyncio.Queue(maxsize=100)
    answers: Counter[int] = Counter()
    took: list[float] = []
    asking = [asyncio.create_task(ask(port, paths, answers, took)) for _ in range(CONNECTIONS)]
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    begun, asked = time.monotonic(), 0
    while not ended.done():
        for task in asking:
            if task.done():
                task.result()
        due = int((time.monotonic() - begun) * rate) - asked
        for _ in range(due):
            paths.put_nowait(PATHS[asked % len(PATHS)]) if not paths.full() else None
            asked += 1
        await asyncio.sleep(0.005)
    seconds = time.monotonic() - begun
    for task in (*listening, *asking):
        task.cancel()
    heard = await asyncio.gather(*listening)
    took.sort()
    return {
        "rate": sum(answers.values()) / seconds,
        "answers": answers,
        "events": sum(heard),
        "p99": took[int(len(took) * 0.99)] if took else None,
    }


def main() -> None:
    """Run until standard input ends; print what came of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--rate", type=float, default=200)
    options = parser.parse_args()
    print(json.dumps(asyncio.run(crowd(options.port, options.streams, options.rate))))  # noqa: T201


if __name__ == "__main__":
    main()
