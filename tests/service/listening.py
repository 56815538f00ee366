"""A service at a port of its own, for clients that need a real connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tests.service.conftest import Site

__all__ = ["listening"]


@contextmanager
def listening(site: Site) -> Iterator[str]:
    """Serve a site for the time of a block; return its URL."""
    up = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: object = None) -> None:
            await super().startup()
            up.set()

    server = Server(uvicorn.Config(site.app, port=0, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert up.wait(20)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        site.service.events.close()
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()
