"""Cron: fields, expressions, and the readings they name."""
