"""HTTP for metrics, in a thread of its own: one client after the other, each for some seconds at most.

prometheus_client has a server too. It makes a thread for each connection, without a limit of number or time, so
whoever reaches the port could use up ipfod's threads and open files. And before it listens it asks the name
service for this host's name, which may take long.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
import time
from collections.abc import Iterable
from socketserver import TCPServer
from typing import Any, ClassVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector

from ipfod.errors import SCARCE, Failed
from ipfod.metrics.listen import Listen

CLIENT_TIMEOUT_S = 5.0  # for the question and for the answer. Prometheus gives up after 10 s by default

SCARCE_PAUSE_S = 0.25  # without descriptors no client can be taken; `close` waits as long

log = logging.getLogger(__name__)


class MetricsServer:
    """Listens from its making on. `close` ends it."""

    def __init__(self, listen: Listen, collector: Collector) -> None:
        """Serve what a collector tells. Raises OSError when there can be no such listener."""
        registry = CollectorRegistry()  # the library's own would tell of the process and of Python, too
        registry.register(collector)
        self._http = _Http(listen, _application(registry))
        self._thread = threading.Thread(target=self._http.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End within about half a second; a client that is being served is cut off. Blocks that long."""
        self._http.cut_off()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Http(WSGIServer):
    """A server that takes the next client when it is done with the one before."""

    def __init__(self, listen: Listen, application: Any) -> None:
        self.address_family = socket.AF_INET6 if listen.address.version == 6 else socket.AF_INET
        self._listen = str(listen.address), listen.port
        self._ending = False
        self._client: socket.socket | None = None
        super().__init__(self._listen, _Handler)
        self.set_app(application)

    def server_bind(self) -> None:
        """Bind without the base class's look-up of this host's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self._listen
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a client that waits. Raises OSError."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in SCARCE:
                time.sleep(SCARCE_PAUSE_S)  # the client waits on: the next try would be at once, for ever
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Called before a client is served."""
        self._client = request
        return not self._ending

    def cut_off(self) -> None:
        """Serve nobody any more, nor whom is being served. To be called from another thread."""
        self._ending = True  # first: a client that comes now sees it, or is seen in the next line
        if self._client is not None:
            with contextlib.suppress(OSError):  # done already
                self._client.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called for a client that went away or said nothing, which is no matter of ours."""
        log.debug("metrics: a client was not served", exc_info=True)


class _Question(io.RawIOBase):
    """What a client sends within a time. The socket's own limit would begin anew with each byte."""

    def __init__(self, connection: socket.socket, within_s: float) -> None:
        self._connection = connection
        self._within_s = within_s
        self._until_s = time.monotonic() + within_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError when the time is over."""
        if (left_s := self._until_s - time.monotonic()) <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._within_s)  # of the answer


class _Handler(WSGIRequestHandler):
    timeout: ClassVar[float] = CLIENT_TIMEOUT_S

    def setup(self) -> None:
        """Called for each client."""
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Question(self.connection, self.timeout))

    def log_message(self, format: str, *args: Any) -> None:
        """No line in the journal for each scrape."""

    def get_stderr(self) -> io.StringIO:
        """Where tracebacks go for clients that do not take their answer: nowhere."""
        return io.StringIO()


def _application(registry: CollectorRegistry) -> Any:
    """The library's application, with sentences for what goes wrong."""
    metrics = make_wsgi_app(registry)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            found: Iterable[bytes] = metrics(environ, start_response)
            return found
        except Failed as error:
            sentence = f"{error}\n"
        except Exception:  # a fault of ours: the client gets a sentence, the journal where it is
            log.exception("metrics: a scrape was answered with an error")
            sentence = "metrics: internal error (see: journalctl -u ipfod)\n"
        start_response("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
        return [sentence.encode()]

    return answer
