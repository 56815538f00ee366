"""What all operations share: who does them, the role that they take, and the audit log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tickwork.interfaces import Keeping
from tickwork.model.definition import Definition
from tickwork.model.records import TaskRecord
from tickwork.scheduler.scheduler import Scheduler
from tickwork.service.accounts import Accounts
from tickwork.service.actors import Actor
from tickwork.service.audit import AuditLog, Outcome
from tickwork.service.errors import (
    AccessDeniedError,
    TooManyAttemptsError,
    UnauthenticatedError,
)
from tickwork.service.models import TaskView
from tickwork.service.pauses import Pauses
from tickwork.service.reaching import Reach
from tickwork.service.roles import Action
from tickwork.service.rules import Rules
from tickwork.service.views import task_view

__all__ = ["Doing", "OperationsBase"]


class Doing:
    """Something that is being done; `after` is what the audit log says of its effect.

    `actor` is who did it, where that comes out by it.
    """

    def __init__(self) -> None:
        self.after: Mapping[str, Any] | None = None
        self.actor: Actor | None = None


class OperationsBase:
    """A scheduler, and who does something to it."""

    def __init__(
        self,
        scheduler: Scheduler,
        actor: Actor,
        rules: Rules | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.rules = rules or Rules()
        self.reach = Reach(scheduler)
        self.actor = actor
        self.audit = AuditLog(self.reach.keeping, self.reach.now_us, self.reach.new_id)
        self.accounts = accounts or Accounts(self.reach.keeping, self.reach.now_us)

    @property
    def keeping(self) -> Keeping:
        """Where documents are kept: sessions, tokens, the audit log."""
        return self.reach.keeping

    def may(self, action: Action) -> bool:
        """Whether the actor may do something; for pages that show only what can be done."""
        return self.actor.may(action)

    def _look(self, action: Action) -> None:
        """Refuse an actor who may not look at something."""
        self.actor.require(action)

    @contextmanager
    def _doing(
        self, action: Action, target: str, before: Mapping[str, Any] | None = None
    ) -> Iterator[Doing]:
        """Do something, with an entry in the audit log from before it begins.

        Raises:
            AccessDeniedError: the actor may not do it; that has an entry, too.
        """
        self._require(action, target)
        entry = self.audit.ask(self.actor, action, target, before)
        doing = Doing()
        try:
            yield doing
        except BaseException as error:
            self.audit.complete(entry, _outcome_of(error), error=error)
            raise
        self.audit.complete(entry, Outcome.DONE, after=doing.after, actor=doing.actor)

    def _require(self, action: Action, target: str) -> None:
        """Refuse an actor who may not do something, before anything is looked up.

        Raises:
            AccessDeniedError: the actor may not do it; the audit log says that it was tried.
        """
        if not self.actor.may(action):
            refusal = self.actor.refusal(action)
            entry = self.audit.ask(self.actor, action, target, outcome=Outcome.REFUSED)
            self.audit.complete(entry, Outcome.REFUSED, error=refusal)
            raise refusal

    def _view(self, record: TaskRecord, store: str) -> TaskView:
        [view] = self._views([record], store)
        return view

    def _views(self, records: list[TaskRecord], store: str) -> list[TaskView]:
        infos = self.reach.task_infos(records, store)
        views = [
            task_view(info, record, self.rules, self._function(record))
            for info, record in zip(infos, records, strict=True)
        ]
        return self._pauses(store).named(views)

    def _pauses(self, store: str) -> Pauses:
        return Pauses(self.reach.keeping, store, self.reach.now_us)

    def _function(self, record: TaskRecord) -> Any:
        definition = record.definition
        if not isinstance(definition, Definition):
            return None
        return self.reach.function_of(definition)


def _outcome_of(error: BaseException) -> Outcome:
    """Return what became of something that ended by an error."""
    if isinstance(error, TooManyAttemptsError):
        return Outcome.THROTTLED
    refused = isinstance(error, (AccessDeniedError, UnauthenticatedError))
    return Outcome.REFUSED if refused else Outcome.FAILED
