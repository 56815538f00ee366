"""The store in a MongoDB database, through pymongo; works on a stand-alone server.

Why no order of crashes loses or doubles anything without transactions: see `outbox`; what follows
from the end of a run: `following`; what dead nodes leave behind: `nodes`; who has a lock: `locks`.
"""

from tickwork.errors import InvalidInputError

try:
    from tickwork.stores.mongo.store import MongoStore
except ModuleNotFoundError as missing:
    if missing.name not in {"pymongo", "bson"}:
        raise
    raise InvalidInputError(
        "the MongoDB store needs pymongo; install it: pip install 'tickwork[mongodb]'"
    ) from missing

__all__ = ["MongoStore"]
