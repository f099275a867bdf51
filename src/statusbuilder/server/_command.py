"""The command `statusbuilder serve`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading

from ._listen import ServerStartError
from ._server import MAX_MESSAGE_BYTES, Server

API_KEY_VARIABLE = "STATUSBUILDER_API_KEY"
GRACE = 5.0
_LOOK_EVERY = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=50051, help="the port; 0 takes a free one (default: %(default)s)")
    parser.add_argument("--db", metavar="PATH", help="SQLite file that keeps the executions (default: a temporary one)")
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"the key that clients must send (default: {API_KEY_VARIABLE}, which is safer: others can see a command "
        "line)",
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM; needs --tls-key")
    parser.add_argument("--tls-key", metavar="FILE", help="private key of the certificate, PEM")
    parser.add_argument("--strict", action="store_true", help="answer NOT_FOUND for unknown executions, create none")
    parser.add_argument(
        "--max-message-bytes",
        type=_size,
        default=MAX_MESSAGE_BYTES,
        metavar="N",
        help="the largest request that is accepted (default: %(default)s)",
    )
    parser.add_argument(
        "--web",
        type=_port,
        nargs="?",
        const=50052,
        metavar="PORT",
        help="offer a page for people (needs statusbuilder[web]) on this port; 0 takes a free one (default: %(const)s)",
    )
    parser.add_argument("--web-host", default="127.0.0.1", help="the page's address (default: %(default)s)")
    parser.add_argument(
        "--health",
        action=argparse.BooleanOptionalAction,
        help="offer the standard health service (default: when statusbuilder[server] is installed)",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status: 0, or 2 when the server cannot start."""
    if (options.tls_cert is None) != (options.tls_key is None):
        return _refuse("--tls-cert and --tls-key go together.")
    tls = None if options.tls_cert is None else (options.tls_cert, options.tls_key)
    key = options.api_key if options.api_key is not None else os.environ.get(API_KEY_VARIABLE) or None
    if key == "":
        return _refuse("--api-key is empty.")
    stop = _stop_signal()
    same = ("host", "port", "strict", "max_message_bytes", "health", "web", "web_host")
    server = Server(options.db, api_key=key, tls=tls, **{name: getattr(options, name) for name in same})
    try:
        server.start()
    except (ServerStartError, ModuleNotFoundError) as error:
        return _refuse(_text(error))
    facts = (options.db or "temporary database", "TLS" if tls else "no TLS", "API key" if key else "no API key")
    print(f"statusbuilder server listening on {server.address} ({', '.join(facts)})", flush=True)
    if server.web_url is not None:
        print(f"page for people at {server.web_url}", flush=True)
    while not stop.wait(_LOOK_EVERY):  # on Windows no signal is handled during a wait without an end
        pass
    server.stop(GRACE)
    return 0


def _stop_signal() -> threading.Event:
    """Return what SIGTERM and SIGINT set; a second one ends the process at once."""
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stop.set()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    return stop


def _refuse(text: str) -> int:
    print(f"statusbuilder serve: {text}", file=sys.stderr)
    return 2


def _text(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        option, extra = ("--health", "server") if str(error.name).startswith("grpc") else ("--web", "web")
        return f"{option} needs {error.name}: pip install 'statusbuilder[{extra}]'."
    return " ".join(str(error).split())


def _port(text: str) -> int:
    return _number(text, 0, 65535, "a port; ports are 0 to 65535")


def _size(text: str) -> int:
    return _number(text, 1, 2**31 - 1, f"a number of bytes from 1 to {2**31 - 1}")


def _number(text: str, least: int, most: int, what: str) -> int:
    if not (text.isdecimal() and least <= int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return int(text)
