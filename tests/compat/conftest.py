"""Each test begins with no calls, and leaves no modules of examples behind."""

import sys
from collections.abc import Iterator

import pytest

from tests.compat import jobs


@pytest.fixture(autouse=True)
def _fresh_jobs() -> Iterator[None]:
    jobs.calls.clear()
    known = set(sys.modules)
    yield
    jobs.calls.clear()
    for name in set(sys.modules) - known:
        if name.endswith(("_examples", "_source")):
            del sys.modules[name]
