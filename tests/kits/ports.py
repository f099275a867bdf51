"""Ports for servers that have to be told theirs."""

from __future__ import annotations

import random
import socket

# Below those that systems hand out for outgoing connections: one of these may be taken before the server has it, and
# who asks again and again whether the server listens is in the end connected with himself.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port that nobody has."""
    while True:
        port = random.choice(_PORTS)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
