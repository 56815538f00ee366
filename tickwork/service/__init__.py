"""The service: a scheduler's tasks and runs over HTTP, for people and programs.

`create_app` makes the application, `ServiceSettings` says how it behaves, and `Operations` is what
every way in (REST, pages, command line) goes through: it checks roles and writes the audit log.
"""

__all__: list[str] = []
