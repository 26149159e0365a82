"""What is no good is said to be no good, and left as it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest

from queuewarden.application.upkeep.backups.backup import DUMP, MANIFEST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import servers

    from queuewarden.application.upkeep.backups.backup import Backup
    from queuewarden.application.upkeep.backups.shelf import Shelf


@pytest.fixture
def proven(backup: Callable, shelf: Shelf) -> Backup:
    """A backup that was proven, before something happens to it."""
    assert (backup("run").code, backup("verify").code) == (0, 0)
    ((found,), _) = shelf.look()
    assert found.manifest.verified_at is not None
    return found


def forge(folder: Path, content: bytes) -> None:
    """Exchange the dump, and make the manifest fit it."""
    (folder / DUMP).write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(manifest))


HARMS: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "corrupted": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "empty": lambda _: b"",
    "too long": lambda content: content + b"\n",
}


def test_what_was_written_is_not_there_any_more(backup: Callable, proven: Backup, shelf: Shelf) -> None:
    content = (proven.folder / DUMP).read_bytes()
    for word, harm in HARMS.items():
        (proven.folder / DUMP).write_bytes(harm(content))
        verified = backup("verify")
        assert verified.code == 1
        assert f"{proven.name} not proven" in verified.out
        assert f"{proven.name}: not proven (" in verified.err
        assert f"the dump is {word}" in verified.out
        assert shelf.look()[0][0].manifest.verified_at is None
        assert f"NO GOOD: {proven.name}: the dump is {word}" in backup("list").out
        restored = backup("restore", "--env", "prod", "--into", "never")
        assert restored.code == 1
        assert word in restored.err
    # It is mended: the next proof counts.
    (proven.folder / DUMP).write_bytes(content)
    assert backup("verify").code == 0
    assert shelf.look()[0][0].manifest.verified_at is not None


def test_h9_the_first_lines_of_a_dump_prove_nothing(
    backup: Callable, proven: Backup, scratches: Callable
) -> None:
    """Half a dump that says that it is whole: its beginning is in order, and so is its checksum."""
    content = (proven.folder / DUMP).read_bytes()
    forge(proven.folder, content[: len(content) - 200])
    verified = backup("verify")
    assert (verified.code, scratches()) == (1, [])
    assert "cannot be restored: pg_restore: " in verified.out


def test_h3_a_restore_restores_and_is_looked_at(
    backup: Callable, proven: Backup, shelf: Shelf, database: servers.Database, scratches: Callable
) -> None:
    """A dump in order, which does not hold what it must: rows are counted after the restore."""
    database.execute("DELETE FROM jobs WHERE id <= 3; CREATE TABLE more (id int)")
    assert backup("run").code == 0
    newest = shelf.look()[0][0]
    forge(proven.folder, (newest.folder / DUMP).read_bytes())
    verified = backup("verify", "--backup", proven.name)
    assert (verified.code, scratches()) == (1, [])
    assert "table public.jobs: 30 rows when it was taken, 27 rows once restored" in verified.out
    assert "table public.more: absent when it was taken, 0 rows once restored" in verified.out
    restored = backup("restore", "--env", "prod", "--backup", proven.name, "--into", "qw_never")
    assert (restored.code, scratches()) == (1, [])
    assert not database.rows("SELECT FROM pg_database WHERE datname = 'qw_never'")


def test_a_queue_that_cannot_be_read_in_it(backup: Callable, proven: Backup, scratches: Callable) -> None:
    verified = backup("verify", QUEUEWARDEN_QUEUE__MAIL__JOBS__TABLE="elsewhere")
    assert (verified.code, scratches()) == (1, [])
    assert "cannot be checked: queue mail: " in verified.out
    assert "elsewhere" in verified.out


def test_a_foreign_dump_is_no_archive(backup: Callable, proven: Backup) -> None:
    for content in (b"", b"-- PostgreSQL database dump\n", b"PGDMP", b"\x1f\x8b\x08"):
        forge(proven.folder, content)
        verified = backup("verify")
        assert verified.code == 1
        assert "cannot be restored: pg_restore: " in verified.out


def test_strays_are_told_and_left_alone(backup: Callable, proven: Backup, shelf: Shelf) -> None:
    (shelf.folder / "app.sql").write_text("SELECT 1")
    (shelf.folder / "20200101T000000Z").mkdir()
    (shelf.folder / "20200102T000000Z").mkdir()
    (shelf.folder / "20200102T000000Z" / MANIFEST).write_text('{"format": 1}')
    (shelf.folder / "20200103T000000Z").mkdir()
    (shelf.folder / "20200103T000000Z" / MANIFEST).write_text('{"format": 2}')
    shutil.copytree(proven.folder, shelf.folder / "20200104T000000Z")
    other = shelf.folder / "20200104T000000Z" / MANIFEST
    other.write_text(other.read_text().replace('"prod"', '"staging"'))
    listed = backup("list")
    assert listed.code == 0
    for told in (
        "app.sql: left alone: not put there by queuewarden",
        "20200101T000000Z: left alone: manifest cannot be read: No such file or directory",
        "20200102T000000Z: left alone: manifest not understood",
        "20200103T000000Z: left alone: manifest of format 2; this program knows 1",
        "20200104T000000Z: left alone: a backup of environment 'staging', not of this one",
    ):
        assert told in listed.out
    assert backup("run", QUEUEWARDEN_UPKEEP__KEEP_DAILY="1").code == 0
    assert len(shelf.look()[1]) == 5
    refused = backup("verify", "--backup", "20200104T000000Z")
    assert refused.code == 1
    assert "a backup of environment 'staging'" in refused.out
    assert "no backup nothing in" in backup("restore", "--env", "prod", "--backup", "nothing").err


def test_an_odd_manifest_is_a_stray_and_ends_nothing(backup: Callable, proven: Backup, shelf: Shelf) -> None:
    place = proven.folder / MANIFEST
    good = json.loads(place.read_text())
    odd = [
        {"taken_at": "2026-03-01T01:00:00"},
        {"taken_at": "0001-01-01T00:00:00+14:00"},
        {"size": "12"},
        {"size": float("nan")},
        {"seconds": float("inf")},
        {"large_objects": -1},
        {"locale": {"encoding": "UTF8\0"}},
        {"locale": ["UTF8"]},
        {"tables": [{"schema": "public", "table": "jobs", "rows": "30"}]},
        {"verification": good["verification"] | {"ok": "no"}},
    ]
    for text in (*(json.dumps(good | one) for one in odd), "[" * 100_000):
        place.write_text(text)
        listed = backup("list", "--json")
        assert listed.code == 0
        (stray,) = listed.document["environments"]["prod"]["strays"]
        assert stray == {"name": proven.name, "why": "manifest not understood"}
    assert backup("run").code == 0
    assert shelf.look()[0][0].name != proven.name
    place.write_text(json.dumps(good | {"tool_version": "?", "database": "\x1b[31m"}))
    assert backup("verify", "--backup", proven.name).code == 0
    assert "\x1b" not in backup("list").out


def test_a_trial_does_without_a_locale_that_its_server_lacks(backup: Callable, proven: Backup) -> None:
    manifest = json.loads((proven.folder / MANIFEST).read_text())
    manifest["locale"] |= {"datcollate": "xx_YY.utf8", "datctype": "xx_YY.utf8"}
    (proven.folder / MANIFEST).write_text(json.dumps(manifest))
    assert backup("verify").code == 0
    refused = backup("restore", "--env", "prod", "--into", "qw_never")
    assert refused.code == 69
    assert "invalid LC_COLLATE locale name" in refused.err or "invalid locale name" in refused.err
