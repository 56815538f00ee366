"""Who may do what: one table, from each thing that can be done to the least role that may do it."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

__all__ = ["LEAST_ROLE", "WAY_IN", "Action", "Role"]


class Role(StrEnum):
    """What somebody may do: a viewer looks, an operator works with tasks, an admin does all."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """How much it may do; higher ones may do all that lower ones may."""
        return list(Role).index(self)

    def may(self, action: "Action") -> bool:
        """Whether somebody with this role may do something."""
        return self.rank >= LEAST_ROLE[action].rank


class Action(StrEnum):
    """Each thing that can be done; named `thing.verb`."""

    TASKS_LIST = "tasks.list"
    TASKS_READ = "tasks.read"
    TASKS_PREVIEW = "tasks.preview"
    TASKS_CREATE = "tasks.create"
    TASKS_CHANGE = "tasks.change"
    TASKS_RESCHEDULE = "tasks.reschedule"
    TASKS_PAUSE = "tasks.pause"
    TASKS_RESUME = "tasks.resume"
    TASKS_RUN = "tasks.run"
    TASKS_REMOVE = "tasks.remove"
    RUNS_LIST = "runs.list"
    RUNS_READ = "runs.read"
    RUNS_CANCEL = "runs.cancel"
    RUNS_RETRY = "runs.retry"
    RUNS_PRUNE = "runs.prune"
    FUNCTIONS_LIST = "functions.list"
    NODES_LIST = "nodes.list"
    STORES_LIST = "stores.list"
    EXECUTORS_LIST = "executors.list"
    LOCKS_LIST = "locks.list"
    EVENTS_FOLLOW = "events.follow"
    METRICS_READ = "metrics.read"
    SESSIONS_LOGIN = "sessions.login"
    SESSIONS_LOGOUT = "sessions.logout"
    SESSIONS_LOGOUT_ALL = "sessions.logout_all"
    USERS_SET_UP = "users.set_up"
    SELF_READ = "self.read"
    SELF_CHANGE = "self.change"
    TOKENS_LIST = "tokens.list"
    TOKENS_CREATE = "tokens.create"
    TOKENS_REVOKE = "tokens.revoke"
    USERS_LIST = "users.list"
    USERS_CREATE = "users.create"
    USERS_CHANGE = "users.change"
    USERS_REMOVE = "users.remove"
    AUDIT_LIST = "audit.list"


LEAST_ROLE: Mapping[Action, Role] = MappingProxyType(
    {
        Action.TASKS_LIST: Role.VIEWER,
        Action.TASKS_READ: Role.VIEWER,
        Action.TASKS_PREVIEW: Role.VIEWER,
        Action.TASKS_CREATE: Role.OPERATOR,
        Action.TASKS_CHANGE: Role.OPERATOR,
        Action.TASKS_RESCHEDULE: Role.OPERATOR,
        Action.TASKS_PAUSE: Role.OPERATOR,
        Action.TASKS_RESUME: Role.OPERATOR,
        Action.TASKS_RUN: Role.OPERATOR,
        # What is removed or pruned is gone.
        Action.TASKS_REMOVE: Role.ADMIN,
        Action.RUNS_LIST: Role.VIEWER,
        Action.RUNS_READ: Role.VIEWER,
        Action.RUNS_CANCEL: Role.OPERATOR,
        Action.RUNS_RETRY: Role.OPERATOR,
        Action.RUNS_PRUNE: Role.ADMIN,
        Action.FUNCTIONS_LIST: Role.VIEWER,
        Action.NODES_LIST: Role.VIEWER,
        Action.STORES_LIST: Role.VIEWER,
        Action.EXECUTORS_LIST: Role.VIEWER,
        Action.LOCKS_LIST: Role.VIEWER,
        Action.EVENTS_FOLLOW: Role.VIEWER,
        Action.METRICS_READ: Role.VIEWER,
        # The way in; who comes by it has no role yet.
        Action.SESSIONS_LOGIN: Role.VIEWER,
        Action.USERS_SET_UP: Role.VIEWER,
        Action.SESSIONS_LOGOUT: Role.VIEWER,
        Action.SESSIONS_LOGOUT_ALL: Role.VIEWER,
        # One's own account and tokens; a token never may more than who made it.
        Action.SELF_READ: Role.VIEWER,
        Action.SELF_CHANGE: Role.VIEWER,
        Action.TOKENS_LIST: Role.VIEWER,
        Action.TOKENS_CREATE: Role.VIEWER,
        Action.TOKENS_REVOKE: Role.VIEWER,
        Action.USERS_LIST: Role.ADMIN,
        Action.USERS_CREATE: Role.ADMIN,
        Action.USERS_CHANGE: Role.ADMIN,
        Action.USERS_REMOVE: Role.ADMIN,
        Action.AUDIT_LIST: Role.ADMIN,
    }
)
"""The least role that may do each thing."""

WAY_IN = frozenset({Action.SESSIONS_LOGIN, Action.USERS_SET_UP})
"""What whoever comes may try, before it is known who they are."""
