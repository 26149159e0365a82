"""What must hold after a sweep that nothing held and nothing interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.rightful import Scene
from model.tables import STUCK_AFTER, older

from queuewarden.engine.judge import advised

if TYPE_CHECKING:
    from model.world import World

    from queuewarden.engine.judge import QueueState
    from queuewarden.engine.report import SweepReport


def at_rest(world: World, report: SweepReport, state: QueueState) -> bool:
    """Look whether a sweep has left nothing undone; False where it was held."""
    (queue,) = report.queues
    assert not [one for one in queue.outcomes if one.error], queue.outcomes
    if any(one.held for one in queue.outcomes):
        return False
    assert queue.looked == set(world.setup.limits.checks)
    witness = world.witness
    scene = Scene(world.setup, report.server.now, witness.base.rows, witness.left_alone, witness.history)
    _dense(world, scene, state)
    _nobody_stuck(world, scene, state)
    _nobody_dead(world, scene, state)
    return True


def _dense(world: World, scene: Scene, state: QueueState) -> None:
    """Lanes end dense, apart from those that are to be left alone or that somebody works on."""
    shunned = {lane for _, lane in state.memory.shunned}
    for lane in {row["lane"] for (table, _), row in scene.rows.items() if table == "jobs"}:
        members = scene.jobs_in_lane(lane)
        keys = {place for place, _ in members}
        if keys & scene.alone or ("jobs", str(world.fleet.locked)) in keys or (lane,) in shunned:
            continue
        positions = [row["position"] for _, row in members]
        assert positions == [str(number + 1) for number in range(len(members))], (lane, positions)


def _nobody_stuck(world: World, scene: Scene, state: QueueState) -> None:
    spared = world.setup.spare or advised(state, world.target) is not None
    for place, job in scene.rows.items():
        if place[0] != "jobs" or job["status"] != "running" or _is_excepted(world, scene, state, *place):
            continue
        worker = scene.worker_of(job)
        silent = worker is None or scene.is_silent(worker)
        if older(scene.since(job), STUCK_AFTER, scene.now):
            assert spared, f"it is still stuck: {job}"
            assert not silent, f"it is still stuck, its worker silent: {job}"
        if worker is not None:
            assert not silent, f"its worker is dead: {job}"


def _nobody_dead(world: World, scene: Scene, state: QueueState) -> None:
    busy = {row["worker"] for row in scene.rows.values() if row.get("worker") and row["status"] == "running"}
    for place, worker in scene.rows.items():
        if place[0] != "workers" or place[1] in busy or _is_excepted(world, scene, state, *place):
            continue
        if scene.is_silent(worker):
            assert worker["status"] == "offline", f"nobody marked it: {worker}"


def _is_excepted(world: World, scene: Scene, state: QueueState, table: str, key: str) -> bool:
    """Left alone, set aside, or locked by somebody."""
    aside = state.memory.aside["jobs" if table == "jobs" else "workers"]
    locked = table == "jobs" and key == str(world.fleet.locked)
    return locked or (table, key) in scene.alone or (key,) in aside
