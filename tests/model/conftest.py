"""What holds for all tests of this folder."""

from engine.conftest import patient_server  # noqa: F401 -- a fixture
