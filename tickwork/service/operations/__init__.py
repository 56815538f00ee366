"""Everything that can be done, by whatever way: each method is one action of `roles.Action`.

REST, pages and command line go through it. It checks the role of who asks, writes the audit log,
and calls the scheduler; what comes back are values, without what is hidden.
"""

from tickwork.service.operations.access import AccessOperations
from tickwork.service.operations.bulk import BulkOperations
from tickwork.service.operations.cluster import ClusterOperations
from tickwork.service.operations.runs import RunOperations

__all__ = ["Operations"]


class Operations(BulkOperations, RunOperations, ClusterOperations, AccessOperations):
    """A scheduler, and who does something to it: `Operations(scheduler, actor)`."""
