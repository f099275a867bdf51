"""A TCP proxy whose connections can be cut, frozen and refused: what networks do to their users."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

HOST = "127.0.0.1"
_CHUNK = 65536


class Proxy:
    """Passes connections on to a port of this machine.

    ```python
    with Proxy(upstream=server.port) as proxy:
        sink = GrpcSink(proxy.target)
        ...
        proxy.cut()
    ```

    Args:
        upstream: the port to pass connections on to; may be changed at any time.
        port: the port to listen on; 0 takes a free one.
    """

    def __init__(self, upstream: int, port: int = 0) -> None:
        self.upstream = upstream
        self.port = port
        """The port it listens on; 0 before the first start of one that takes a free one."""
        self._flow = _open_gate()
        self._closed_gates: list[threading.Event] = []
        self._lock = threading.Lock()
        self._listening: socket.socket | None = None
        self._open: set[socket.socket] = set()

    @property
    def target(self) -> str:
        """What clients connect to: `host:port`."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Listen; after `refuse`, on the same port again."""
        if self._listening is not None:
            return
        self._listening = listening = socket.create_server((HOST, self.port), backlog=128)
        self.port = listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(listening,), name="statusbuilder-proxy", daemon=True).start()

    def cut(self) -> None:
        """Close all connections, in the middle of whatever they carry; new ones are accepted."""
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the threads that read it, which closing does not
            end.close()

    def freeze(self, *, fresh: bool = True) -> None:
        """Pass no byte on, in neither direction; connections stay open, and new ones are accepted.

        Args:
            fresh: whether new connections hang, too.
        """
        self._flow.clear()
        self._closed_gates.append(self._flow)
        if not fresh:
            self._flow = _open_gate()

    def thaw(self) -> None:
        """Pass on what was held back, and go on."""
        gates, self._closed_gates = self._closed_gates, []
        for gate in gates:
            gate.set()

    def refuse(self) -> None:
        """Cut all connections, and accept no more until `start`."""
        listening, self._listening = self._listening, None
        if listening is not None:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        self.cut()

    close = refuse

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        self.thaw()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:  # refused
                return
            self._connect(client, listening)

    def _connect(self, client: socket.socket, listening: socket.socket) -> None:
        try:
            server = socket.create_connection((HOST, self.upstream))
        except OSError:
            client.close()
            return
        with self._lock:
            self._open |= {client, server}
        flow = self._flow
        for end in (client, server):
            with contextlib.suppress(OSError):  # cut meanwhile
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for ends in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(*ends, flow), name="statusbuilder-proxy", daemon=True).start()
        if self._listening is not listening:  # refused meanwhile
            self.cut()

    def _pump(self, source: socket.socket, sink: socket.socket, flow: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                flow.wait()
                sink.sendall(data)
        for end in (source, sink):
            with self._lock:
                self._open.discard(end)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _open_gate() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate
