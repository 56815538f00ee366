"""A service elsewhere, by its URL: the methods of `Operations`, over HTTP.

Errors are raised as what they were there. Nothing but the standard library is needed for it.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from datetime import datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from pydantic import BaseModel, TypeAdapter

from tickwork.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RunNotFoundError,
    StoreUnavailableError,
    TaskNotFoundError,
    TickworkError,
)
from tickwork.model.snapshots import NodeInfo, RunInfo
from tickwork.service.audit import AuditEntry
from tickwork.service.codes import code_of
from tickwork.service.errors import (
    AccessDeniedError,
    TooManyAttemptsError,
    UnauthenticatedError,
)
from tickwork.service.models import (
    BulkRequest,
    BulkResult,
    Cancel,
    ExecutorView,
    FunctionView,
    LockView,
    NewTask,
    Page,
    Pause,
    PreviewRequest,
    PreviewView,
    PruneRequest,
    PruneResult,
    RetryRequest,
    RunFilter,
    RunLog,
    RunProgress,
    RunSummary,
    Schedule,
    StoreView,
    TaskChange,
    TaskFilter,
    TaskPreview,
    TaskView,
    VersionView,
)
from tickwork.service.paths import in_path
from tickwork.service.people import (
    Me,
    NewToken,
    NewUser,
    PasswordChange,
    TokenMade,
    TokenView,
    UserChange,
    UserView,
)
from tickwork.service.roles import Action

__all__ = ["Client"]

T = TypeVar("T")

_BY_STATUS: dict[int, type[TickworkError]] = {
    401: UnauthenticatedError,
    403: AccessDeniedError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidInputError,
    503: StoreUnavailableError,
}


class Client:
    """A service at a URL such as `http://127.0.0.1:8642`; `token` says who is asking.

    Raises:
        InvalidInputError: it is no URL of a service.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout_s: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InvalidInputError(f"{url!r} is no URL of a service, as http://127.0.0.1:8642 is")
        self._parts = parts
        self._prefix = parts.path.rstrip("/") + "/api/v1"
        self._token = token
        self._timeout_s = timeout_s

    # --- tasks --------------------------------------------------------------------------------

    def list_tasks(
        self,
        filters: TaskFilter | None = None,
        *,
        sort: str = "id",
        limit: int = 100,
        cursor: str | None = None,
        total: bool = False,
    ) -> Page[TaskView]:
        """Return a page of tasks."""
        query = {"sort": sort, "limit": limit, "cursor": cursor, "total": total}
        return self._ask("GET", "/tasks", Page[TaskView], {**_said(filters), **query})

    def count_tasks(self, filters: TaskFilter | None = None) -> int:
        """Return how many tasks a filter finds."""
        return self.list_tasks(filters, limit=1, total=True).total or 0

    def get_task(self, task_id: str, *, store: str | None = None) -> TaskView:
        """Return a task as it stands now."""
        return self._ask("GET", _task(task_id), TaskView, {"store": store})

    def preview_task(
        self, task_id: str, count: int = 5, *, store: str | None = None
    ) -> list[datetime]:
        """Return the next fire times of a task."""
        query = {"count": count, "store": store}
        return self._ask("GET", _task(task_id, "/fires"), list[datetime], query)

    def preview(self, request: PreviewRequest) -> PreviewView:
        """Return the next fire times of a schedule that would begin now."""
        return self._ask("POST", "/preview", PreviewView, body=request)

    def list_functions(self) -> list[FunctionView]:
        """Return the functions that tasks may be made of."""
        return self._ask("GET", "/functions", list[FunctionView])

    def create_task(self, new: NewTask, *, key: str | None = None) -> TaskView:
        """Add a task; with a `key`, a repetition does nothing and returns the same."""
        return self._ask("POST", "/tasks", TaskView, body=new, headers=_key(key))

    def change_task(
        self,
        task_id: str,
        change: TaskChange,
        *,
        store: str | None = None,
        etag: str | None = None,
        dry_run: bool = False,
    ) -> TaskPreview:
        """Change a task, or only say what would be."""
        query, match = {"store": store, "dry_run": dry_run}, _match(etag)
        return self._ask("PATCH", _task(task_id), TaskPreview, query, body=change, headers=match)

    def reschedule_task(
        self,
        task_id: str,
        schedule: Schedule,
        *,
        store: str | None = None,
        etag: str | None = None,
        dry_run: bool = False,
    ) -> TaskPreview:
        """Change the schedule of a task, or only say what would be."""
        query, path = {"store": store, "dry_run": dry_run}, _task(task_id, "/reschedule")
        match = _match(etag)
        return self._ask("POST", path, TaskPreview, query, body=schedule, headers=match)

    def pause_task(
        self,
        task_id: str,
        pause: Pause | None = None,
        *,
        store: str | None = None,
        etag: str | None = None,
    ) -> TaskView:
        """Stop planning a task."""
        path, query, match = _task(task_id, "/pause"), {"store": store}, _match(etag)
        return self._ask("POST", path, TaskView, query, body=pause or Pause(), headers=match)

    def resume_task(
        self, task_id: str, *, store: str | None = None, etag: str | None = None
    ) -> TaskView:
        """Go on with a paused task."""
        path, query = _task(task_id, "/resume"), {"store": store}
        return self._ask("POST", path, TaskView, query, headers=_match(etag))

    def run_task(
        self, task_id: str, *, store: str | None = None, key: str | None = None
    ) -> RunSummary:
        """Execute a task now."""
        path, query = _task(task_id, "/run"), {"store": store}
        return self._ask("POST", path, RunSummary, query, headers=_key(key))

    def remove_task(
        self, task_id: str, *, store: str | None = None, etag: str | None = None
    ) -> None:
        """Remove a task."""
        self._send("DELETE", _task(task_id), {"store": store}, headers=_match(etag))

    def bulk_tasks(self, request: BulkRequest) -> BulkResult:
        """Do something to all tasks that a filter finds, or only count them."""
        return self._ask("POST", "/tasks/bulk", BulkResult, body=request)

    # --- runs ---------------------------------------------------------------------------------

    def list_runs(
        self,
        filters: RunFilter | None = None,
        *,
        limit: int = 100,
        cursor: str | None = None,
        total: bool = False,
    ) -> Page[RunSummary]:
        """Return a page of runs, the newest first."""
        query = {"limit": limit, "cursor": cursor, "total": total}
        return self._ask("GET", "/runs", Page[RunSummary], {**_said(filters), **query})

    def count_runs(self, filters: RunFilter | None = None) -> int:
        """Return how many runs a filter finds."""
        return self.list_runs(filters, limit=1, total=True).total or 0

    def get_run(self, run_id: str, *, store: str | None = None) -> RunInfo:
        """Return a run as it stands now."""
        return self._ask("GET", _run(run_id), RunInfo, {"store": store})

    def get_log(self, run_id: str, *, store: str | None = None) -> RunLog:
        """Return the last lines that a run has logged."""
        return self._ask("GET", _run(run_id, "/log"), RunLog, {"store": store})

    def get_progress(self, run_id: str, *, store: str | None = None) -> RunProgress:
        """Return how far a run says it is."""
        return self._ask("GET", _run(run_id, "/progress"), RunProgress, {"store": store})

    def cancel_run(
        self, run_id: str, *, reason: str | None = None, store: str | None = None
    ) -> RunInfo:
        """End a run, wherever it is."""
        body = Cancel(reason=reason)
        return self._ask("POST", _run(run_id, "/cancel"), RunInfo, {"store": store}, body=body)

    def retry_run(
        self, run_id: str, *, store: str | None = None, key: str | None = None
    ) -> RunSummary:
        """Execute again what a run was for."""
        path, query = _run(run_id, "/retry"), {"store": store}
        return self._ask("POST", path, RunSummary, query, headers=_key(key))

    def retry_runs(self, request: RetryRequest) -> BulkResult:
        """Execute again all runs that a filter finds, or only count them."""
        return self._ask("POST", "/runs/retry", BulkResult, body=request)

    def prune_runs(self, request: PruneRequest) -> PruneResult:
        """Forget runs that were over before an instant, or only count them."""
        return self._ask("POST", "/runs/prune", PruneResult, body=request)

    # --- the rest -----------------------------------------------------------------------------

    def list_nodes(self) -> list[NodeInfo]:
        """Return the started schedulers, also dead ones."""
        return self._ask("GET", "/nodes", list[NodeInfo])

    def list_stores(self) -> list[StoreView]:
        """Return the stores."""
        return self._ask("GET", "/stores", list[StoreView])

    def list_executors(self) -> list[ExecutorView]:
        """Return the executors."""
        return self._ask("GET", "/executors", list[ExecutorView])

    def list_locks(self) -> list[LockView]:
        """Return locks and leaderships."""
        return self._ask("GET", "/locks", list[LockView])

    def version(self) -> VersionView:
        """Return what answers there."""
        return self._ask("GET", "/version", VersionView)

    def me(self) -> Me:
        """Return who is asking, and what they may do."""
        return self._ask("GET", "/me", Me)

    def change_password(self, change: PasswordChange) -> None:
        """Change one's own password."""
        self._send("PUT", "/me/password", body=change)

    def log_out_everywhere(self) -> None:
        """End all sessions of one's own; tokens stay."""
        self._send("DELETE", "/me/sessions")

    def list_tokens(self) -> list[TokenView]:
        """Return tokens."""
        return self._ask("GET", "/tokens", list[TokenView])

    def create_token(self, new: NewToken) -> TokenMade:
        """Make a token; it is shown this one time."""
        return self._ask("POST", "/tokens", TokenMade, body=new)

    def revoke_token(self, token_id: str) -> None:
        """Have a token be worth nothing."""
        self._send("DELETE", f"/tokens/{in_path(token_id)}")

    def list_users(self) -> list[UserView]:
        """Return accounts."""
        return self._ask("GET", "/users", list[UserView])

    def create_user(self, new: NewUser) -> UserView:
        """Add an account."""
        return self._ask("POST", "/users", UserView, body=new)

    def change_user(self, name: str, change: UserChange) -> UserView:
        """Change an account."""
        return self._ask("PATCH", f"/users/{in_path(name)}", UserView, body=change)

    def remove_user(self, name: str) -> None:
        """Remove an account."""
        self._send("DELETE", f"/users/{in_path(name)}")

    def list_audit(
        self,
        *,
        actor: str | None = None,
        action: Action | None = None,
        target: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[AuditEntry]:
        """Return entries of the audit log, the newest first."""
        query = {"actor": actor, "action": action, "target": target}
        query |= {"limit": str(limit), "cursor": cursor}
        return self._ask("GET", "/audit", Page[AuditEntry], query)

    def follow_events(self, *kinds: str) -> Iterator[dict[str, Any]]:
        """Yield events as they happen, until the service ends."""
        connection = self._connection(None)
        try:
            query = _query({"kind": list(kinds)})
            connection.request("GET", f"{self._prefix}/events{query}", headers=self._headers())
            answer = connection.getresponse()
            if answer.status != 200:
                raise _error(answer.status, answer.read())
            for line in answer:
                if line.startswith(b"data: "):
                    data: dict[str, Any] = json.loads(line[6:])
                    yield data
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    # --- asking -------------------------------------------------------------------------------

    def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        query: Mapping[str, Any] | None = None,
        *,
        body: BaseModel | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Send a request and return what it is answered."""
        text = self._send(method, path, query, body=body, headers=headers)
        return TypeAdapter(kind).validate_json(text)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        body: BaseModel | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        text = None if body is None else body.model_dump_json(exclude_unset=True).encode()
        whole = self._headers() | dict(headers or {})
        if text is not None:
            whole["Content-Type"] = "application/json"
        connection = self._connection(self._timeout_s)
        try:
            connection.request(method, self._prefix + path + _query(query or {}), text, whole)
            answer = connection.getresponse()
            told = answer.read()
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        if answer.status >= 300:
            raise _error(answer.status, told)
        return told

    def _headers(self) -> dict[str, str]:
        return {} if self._token is None else {"Authorization": f"Bearer {self._token}"}

    def _connection(self, timeout_s: float | None) -> HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            secure = ssl.create_default_context()
            return HTTPSConnection(host, port, timeout=timeout_s, context=secure)
        return HTTPConnection(host, port, timeout=timeout_s)

    def _unreachable(self, error: Exception) -> StoreUnavailableError:
        where = self._parts._replace(netloc=self._parts.netloc.rpartition("@")[2])  # no password
        return StoreUnavailableError(
            f"the service at {where.geturl()} doesn't answer: {error}; is it running?"
        )


def _task(task_id: str, what: str = "") -> str:
    if not task_id:
        raise TaskNotFoundError("there is no task ''; name one")
    return f"/tasks/{in_path(task_id)}{what}"


def _run(run_id: str, what: str = "") -> str:
    if not run_id:
        raise RunNotFoundError("there is no run ''; name one")
    return f"/runs/{in_path(run_id)}{what}"


def _key(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


def _match(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"If-Match": f'"{etag}"'}


def _said(filters: BaseModel | None) -> dict[str, Any]:
    return {} if filters is None else filters.model_dump(mode="json", exclude_none=True)


def _query(query: Mapping[str, Any]) -> str:
    said = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in query.items()
        if value is not None
    }
    return f"?{urlencode(said, doseq=True)}" if said else ""


def _error(status: int, told: bytes) -> TickworkError:
    """Return the error that an answer stands for."""
    try:
        problem = json.loads(told)
        code, detail = str(problem["type"]).rpartition(":")[2], str(problem["detail"])
    except (ValueError, TypeError, KeyError):
        return TickworkError(f"the service answered {status}, and not as tickwork does")
    if status == 429:
        return TooManyAttemptsError(detail, 1)
    kind = _kinds(TickworkError).get(code) or _BY_STATUS.get(status, TickworkError)
    return kind(detail)


def _kinds(root: type[TickworkError]) -> dict[str, type[TickworkError]]:
    found = {code_of(root): root}
    for kind in root.__subclasses__():
        if kind.__name__ != "TaskError":
            found |= _kinds(kind)
    return found
