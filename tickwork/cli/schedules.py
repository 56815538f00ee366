"""Schedules as one text, as the service reads them."""

from tickwork.service.schedules import read_schedule

__all__ = ["read_schedule"]
