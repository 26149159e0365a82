"""What holds for all tests of this folder."""

from engine.conftest import cheap_looks, patient_server  # noqa: F401 -- fixtures
