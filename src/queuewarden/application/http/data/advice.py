"""What is recommended: the hints of what stays wrong, and brakes that hold."""

from collections.abc import Iterator

from pydantic import BaseModel

from queuewarden.application.guard import Guard
from queuewarden.application.http.choice import Choice
from queuewarden.application.http.data.parameters import clean


class Advice(BaseModel):
    """One recommendation.

    Attributes:
        kind: of the anomaly or brake behind it.
    """

    environment: str
    queue: str | None
    kind: str
    text: str


def advice(guard: Guard, choice: Choice) -> Iterator[Advice]:
    """What the environment's last sweep recommends."""
    status = guard.status
    for one in status.anomalies:
        if one.hint and (one.queue is None or choice.has(one.queue)):
            yield Advice(environment=guard.config.name, queue=one.queue, kind=one.kind, text=clean(one.hint))
    for brake in status.brakes:
        if brake.queue is None or choice.has(brake.queue):
            text = f"brake {brake.kind} holds: {brake.why}"
            yield Advice(environment=guard.config.name, queue=brake.queue, kind=brake.kind, text=clean(text))
