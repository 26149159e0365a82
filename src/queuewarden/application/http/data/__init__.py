"""Endpoints that ask the databases, on connections of their own."""

from fastapi import APIRouter

from queuewarden.application.http.data.consistency import router as consistency_router
from queuewarden.application.http.data.export import router as export_router
from queuewarden.application.http.data.failures import router as failures_router
from queuewarden.application.http.data.history import router as history_router
from queuewarden.application.http.data.jobs import router as jobs_router
from queuewarden.application.http.data.report import router as report_router
from queuewarden.application.http.data.workers import router as workers_router

router = APIRouter()
for _part in (
    jobs_router,
    workers_router,
    failures_router,
    history_router,
    report_router,
    consistency_router,
    export_router,
):
    router.include_router(_part)
