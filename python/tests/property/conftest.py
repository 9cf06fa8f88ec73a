"""How many cases are drawn: the same few on every run of `make test`, other ones each time with CYLON_TEST_LONG=1.

CYLON_PROPERTY_CASES=50 draws 50 for each test and key type, anew each time, whatever the length of the run.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# What a case draws is small, but a world of seven ranks takes its time.
COMMON = settings(
    deadline=None,
    print_blob=True,  # a failure ends with the decorator that replays it
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.register_profile("cylon", COMMON, max_examples=5, derandomize=True, database=None)
# 30 key types and 4 operators: 24,000 cases.
settings.register_profile("cylon-long", COMMON, max_examples=200)
settings.register_profile("cylon-chosen", COMMON, max_examples=int(os.environ.get("CYLON_PROPERTY_CASES", "1")))
if "CYLON_PROPERTY_CASES" in os.environ:
    settings.load_profile("cylon-chosen")
else:
    settings.load_profile("cylon-long" if os.environ.get("CYLON_TEST_LONG") else "cylon")
