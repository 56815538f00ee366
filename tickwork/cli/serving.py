"""`tickwork serve`: a scheduler and its service in one process, until a signal.

The service listens in a thread of its own, with an event loop of its own: a coroutine task that
blocks keeps nobody from looking. When it is to stop, it first lets go of those who follow events,
answers what was asked, and then stops the scheduler.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import typer

from tickwork.cli.client import signing_keys
from tickwork.cli.running import Signals, load_scheduler, log_to_stderr, tell_left
from tickwork.cli.terminal import Terminal, terminal_of
from tickwork.errors import InvalidInputError
from tickwork.scheduler.scheduler import Scheduler
from tickwork.version import __version__

if TYPE_CHECKING:
    import uvicorn

    from tickwork.scheduler.runtime import StopReport
    from tickwork.service.hosting import Service
    from tickwork.service.settings import ServiceSettings

__all__ = ["serve_scheduler"]

_ANSWERED_WITHIN_S = 5
_STARTED_WITHIN_S = 30.0


def serve_scheduler(
    context: typer.Context,
    target: str | None,
    flags: Mapping[str, Any],
    *,
    seconds: float | None,
    stop_timeout: float,
) -> None:
    """Serve a scheduler until SIGINT, SIGTERM or the end of `seconds`, and stop it cleanly."""
    terminal = terminal_of(context)
    settings = _settings(flags)
    scheduler = _scheduler(target, settings, named=flags.get("store") is not None)
    _log(settings)
    listening = _listening(settings.host, settings.port)
    try:
        _Serving(terminal, scheduler, settings, listening).run(seconds, stop_timeout)
    finally:
        listening.close()


def _settings(flags: Mapping[str, Any]) -> ServiceSettings:
    try:
        # All that is needed, so that what is missing is told before anything begins.
        import uvicorn  # noqa: F401

        from tickwork.service.app import create_app  # noqa: F401
        from tickwork.service.settings import read_settings
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"the service needs the package {error.name!r}: pip install 'tickwork[service]'"
        ) from error
    return read_settings(**flags)


def _scheduler(target: str | None, settings: ServiceSettings, *, named: bool) -> Scheduler:
    if target is None:
        keys = signing_keys(os.environ.get("TICKWORK_SIGNING_KEYS", ""))
        return Scheduler(settings.store, signing_keys=keys)
    if named:
        raise InvalidInputError(f"{target} has stores of its own; leave --store out")
    return load_scheduler(target)


def _log(settings: ServiceSettings) -> None:
    if settings.log_format == "json":
        from tickwork.logs import JsonFormatter

        log_to_stderr(JsonFormatter(), outcomes=True)
    else:
        log_to_stderr(outcomes=True)


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound, before anything else begins.

    Raises:
        InvalidInputError: the address can't be had.
    """
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise InvalidInputError(
            f"can't listen at {host}, port {port}: {error.strerror or error}; choose another by "
            "--host and --port (0: any free port)"
        ) from error
    return listening


class _Serving:
    """A scheduler and a server, from their start to their end."""

    def __init__(
        self,
        terminal: Terminal,
        scheduler: Scheduler,
        settings: ServiceSettings,
        listening: socket.socket,
    ) -> None:
        from tickwork.service.app import create_app

        self._terminal = terminal
        self._scheduler = scheduler
        self._settings = settings
        self._listening = listening
        app = create_app(scheduler, settings)
        self._service: Service = app.state.service
        self._up = threading.Event()
        self._server = _server(app, settings.root_path, self._up)

    def run(self, seconds: float | None, stop_timeout: float) -> None:
        with Signals() as signals, ThreadPoolExecutor(2) as aside:
            self._begin()
            serving = aside.submit(self._server.run, [self._listening])
            serving.add_done_callback(lambda _: self._up.set())
            serving.add_done_callback(signals.wake)
            self._up.wait(_STARTED_WITHIN_S)
            if not serving.done():
                self._greet()
            number = signals.wait(seconds)
            if number:
                self._terminal.say(f"{signal.Signals(number).name}: stopping")
            stop = aside.submit(self._end, serving, stop_timeout)
            stop.add_done_callback(signals.wake)
            impatient = self._await_end(signals, stop)
            tell_left(stop.result())
        serving.result()
        if impatient:
            raise typer.Exit(128 + impatient)
        self._terminal.say("stopped")

    def _begin(self) -> None:
        if self._service.fires:
            self._scheduler.start()
        else:
            self._scheduler.connect(create=False)

    def _await_end(self, signals: Signals, stop: Future[StopReport]) -> int:
        """Wait for the end; a second signal waits for nothing. Return its number, or 0."""
        while not stop.done():
            number = signals.wait(None)
            if number and not stop.done():
                typer.echo(f"{signal.Signals(number).name} again: not waiting", err=True)
                signals.let_kill()
                self._server.force_exit = True
                self._scheduler.stop(wait=False)
                return number
        return 0

    def _end(self, serving: Future[None], stop_timeout: float) -> StopReport:
        self._service.events.close()
        self._server.should_exit = True
        try:
            serving.exception()
        finally:
            report = self._scheduler.stop(timeout=stop_timeout)
        return report

    def _greet(self) -> None:
        host, port = self._listening.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{port}"
        what = "viewer of" if self._settings.viewer else "service of"
        kinds = ", ".join(
            f"{store} ({kind})"
            for store, kind in self._scheduler.snapshot().stores.items()
            if store != "local"
        )
        self._terminal.say(f"tickwork {__version__}, {what} {kinds}; Ctrl-C stops")
        self._terminal.say(f"listening at {address}")
        self._offer_set_up(address)

    def _offer_set_up(self, address: str) -> None:
        accounts = self._service.accounts
        if self._settings.auth == "password" and not accounts.has_users():
            token = accounts.new_set_up_token()
            self._terminal.say(
                "there are no users yet; make the first admin within a day, with the set-up token",
                f"  {token}",
                f"  (POST {address}/api/v1/setup with token, name and password)",
            )


def _server(app: Any, root_path: str, up: threading.Event) -> uvicorn.Server:
    """Return a server that says when it answers."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            up.set()

    config = uvicorn.Config(
        app,
        root_path=root_path,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_ANSWERED_WITHIN_S,
    )
    return Server(config)
