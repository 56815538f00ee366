"""The store in a Redis server, through redis-py and Lua scripts."""

from tickwork.errors import InvalidInputError

try:
    from tickwork.stores.redis.store import RedisStore
except ModuleNotFoundError as missing:
    if missing.name != "redis":
        raise
    raise InvalidInputError(
        "the Redis store needs redis-py; install it: pip install 'tickwork[redis]'"
    ) from missing

__all__ = ["RedisStore"]
