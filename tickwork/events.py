"""The events that listeners are told of; see `Scheduler.on`."""

from tickwork.model.events import *  # noqa: F403  the public name of that module
from tickwork.model.events import __all__ as __all__
