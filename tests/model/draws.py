"""What the model draws: how long, who, where, and what happens meanwhile."""

from __future__ import annotations

import datetime as dt

from hypothesis import strategies as st
from model.events import EVENTS, STOPS
from model.tables import Setup

SPANS = tuple(dt.timedelta(seconds=seconds) for seconds in (10, 40, 130, 200, 200, 200, 700, 25 * 3600))
"""All limits are multiples of ten seconds, too: whether one is over does not depend on how fast we are."""

picks = st.integers(0, 7)
daemons = st.sampled_from("AAB")
lanes = st.sampled_from((1, 1, 2, None))
meanwhile = st.tuples(st.sampled_from((0, 0, 0, 1, 2)), st.sampled_from((*EVENTS, *STOPS, *STOPS)), picks)
setups = st.builds(
    Setup,
    unique=st.booleans(),
    beats=st.booleans(),
    at_finish=st.booleans(),
    spare=st.booleans(),
    batch=st.sampled_from((1000, 1, 2)),
    brake_rows=st.sampled_from((50, 50, 1)),
)
