"""A service with users, where everybody may log in as often as tests do."""

from collections.abc import Iterator

import pytest

from tests.service.conftest import Site, opened


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return a service with a user of each role."""
    folder = tmp_path_factory.mktemp("guarded")
    with opened(folder, auth="password", login_attempts=1_000) as site:
        site.create_users()
        yield site
