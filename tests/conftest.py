"""What all tests share: property tests try the same examples each time.

A check must say of the same tree the same thing. `TICKWORK_RANDOM=1` looks for new examples.
"""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True, database=None)
settings.register_profile("new")
settings.load_profile("new" if os.environ.get("TICKWORK_RANDOM") else "same")
