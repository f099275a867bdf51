"""A backend in one process: what demos, tests and local development deliver to.

It speaks both contracts (`updateStatus`, `get`, `list`, `subscribe`) and keeps the executions in SQLite. It is not a
product backend: it knows no tenants and no workflow definitions.
"""

from ._listen import ServerStartError
from ._server import Server

__all__ = ["Server", "ServerStartError"]
