"""The OpenAPI document says exactly what the service does, whether people log in or not."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from starlette.types import Receive, Scope, Send

from tests.service.conftest import API, opened
from tickwork import Scheduler
from tickwork.service.app import create_app
from tickwork.service.roles import Role
from tickwork.service.settings import ServiceSettings

EXAMPLES = 10
ENDLESS = f"{API}/events"
HOSTS = ("testserver",)
# What fits the document and makes no sense (a cron expression, say) is answered with 422.
MAY_BE_REFUSED = ["2xx", "401", "403", "404", "409", "412", "422", "429"]
CONFIG = SchemathesisConfig.from_dict(
    {"checks": {"positive_data_acceptance": {"expected-statuses": MAY_BE_REFUSED}}}
)
EACH = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


class Stage:
    """The application that the document comes from, and then the one that is asked."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.headers: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def stage(folder: str, auth: str) -> Stage:
    store = f"sqlite:///{folder}/nobody.db"
    said = ServiceSettings(allowed_hosts=HOSTS, auth=auth)  # type: ignore[arg-type]
    return Stage(create_app(Scheduler(store), said))


OPEN, GUARDED = stage("none", "none"), stage("none", "password")


def document(of: Stage) -> Any:
    return schemathesis.openapi.from_asgi(f"{API}/openapi.json", of, config=CONFIG).exclude(
        path=ENDLESS
    )


@pytest.fixture(scope="module", autouse=True)
def _staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    allow = ("tests.service.jobs:*",)
    first, second = tmp_path_factory.mktemp("open"), tmp_path_factory.mktemp("guarded")
    with (
        opened(first, allow=allow, allowed_hosts=HOSTS) as site,
        opened(second, allow=allow, allowed_hosts=HOSTS, auth="password") as guarded,
    ):
        guarded.create_users()
        secret, _ = guarded.service.accounts.create_token("admin", "test", Role.ADMIN, None)
        OPEN.app, GUARDED.app = site.app, guarded.app
        GUARDED.headers = {"Authorization": f"Bearer {secret}"}
        for each in (site, guarded):
            each.scheduler.advance(hours=2)
        yield


@document(OPEN).parametrize()
@EACH
def test_where_nobody_logs_in_each_answer_is_announced(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate()


@document(GUARDED).parametrize()
@EACH
def test_with_a_token_each_answer_is_announced(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(headers=GUARDED.headers)
