"""The status document: each fleet counted once, and how old it may become."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from queuewarden.application.status import EnvironmentStatus, document
from queuewarden.engine.report import QueueReport, SweepReport
from queuewarden.model import Counts, ServerState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def taken(*queues: QueueReport) -> EnvironmentStatus:
    """What is known after one sweep."""
    server = ServerState(NOW, NOW, standby=False, timeline="1", system="1")
    status = EnvironmentStatus("prod")
    status.take(SweepReport("prod", "ab12", server, queues, (), (), 0.01, 2), {one.queue for one in queues})
    return status


def test_queues_that_share_a_workers_table_count_its_workers_once() -> None:
    status = taken(
        QueueReport("index", Counts(waiting=1, live_workers=3), (), fleet="public.workers"),
        QueueReport("acte", Counts(waiting=2, live_workers=2), (), fleet="public.workers"),
        QueueReport("mail", Counts(waiting=4, live_workers=5), (), fleet="public.mailers"),
        QueueReport("bare", Counts(waiting=8), ()),
    )
    assert status.totals() == {"active_workers": 8, "waiting_jobs": 15}


def test_what_is_unknown_of_one_queue_is_unknown_of_all() -> None:
    assert taken(QueueReport("index", Counts(waiting=1), ()), QueueReport("acte", None, ())).totals() == {}


def test_the_document_tells_its_interval() -> None:
    content = document([], "environment", 7, timedelta(seconds=20))
    assert content["interval_seconds"] == 20
