"""What transactions begin with: isolation, limits, our own search_path, and the lock of the guards."""

from __future__ import annotations

GUARD_LOCK = (1_903_519_604, 1)
"""Key of the transaction-level advisory lock by which all guards of a database exclude each other."""

LOCALS = b"""
SELECT set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('lock_timeout', CAST(greatest(1, least(CAST(%(lock_timeout)s AS int8),
           floor(extract(epoch FROM CAST(current_setting('deadlock_timeout') AS interval)) * 500)))
           AS int8)::text, true),
       set_config('idle_in_transaction_session_timeout', '2s', true),
       set_config('row_security', 'off', true),
       set_config('DateStyle', 'ISO', true),
       set_config('IntervalStyle', 'postgres', true),
       set_config('extra_float_digits', '1', true),
       set_config('bytea_output', 'hex', true)"""
READ = b"BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"
WRITE = b"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
ROLE_PATH = b"SET LOCAL search_path TO DEFAULT"
OWN_NAMES_ONLY = b"SET LOCAL search_path = pg_catalog, pg_temp"
"""Whoever may create objects in a schema on the role's path could otherwise have us run them: an operator
that fits our types better than the server's own is preferred, wherever it lies."""
