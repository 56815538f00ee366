"""The pages: what can be done over REST, for people and their browsers."""

from tickwork.service.dashboard.site import add_dashboard

__all__ = ["add_dashboard"]
