"""What comes in to the page: requests, forms, cookies and WebSocket frames as bytes, and statuses that were changed."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
from urllib.parse import quote, urlsplit

import grpc
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from statusbuilder import AgentStatusBuilder, MessageType, Snapshot, StatusBuilder
from statusbuilder.contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract
from statusbuilder.server import Server

_KEY = "the key of the fuzzed server"
_SECRET = "what only a session shows"
_TIMEOUT = 20
_ODD = [
    b"a" * 70_000,
    "ä日".encode(),
    b"\r\n",
    b"\n",
    *b'|| |\0|\xff\xfe|%|%00|%FF|%2e%2e|..|//|\t|?|#|;|"|=|&|[::1|:|-1|1e9'.split(b"|"),
]
_PATHS = (
    b"/ /login /page.js /page.css /api/executions /api/executions/workflow/held /executions/workflow/held "
    b"/executions/agent/odd /ws/page/ /ws/executions/workflow/held /ws/page/executions/agent/odd"
).split()
_HEADERS = (
    b"Host Origin Cookie Content-Length Transfer-Encoding Connection Upgrade Accept Expect Content-Type X Range "
    b"Sec-WebSocket-Key Sec-WebSocket-Version Sec-WebSocket-Extensions Sec-WebSocket-Protocol"
).split()


class _Held:
    """A server with a key, one execution that must not be seen without it, and one that is odd."""

    def __init__(self) -> None:
        self.server = Server(web=0, api_key=_KEY, max_message_bytes=64 * 1024 * 1024)
        self.server.start()
        self.place = urlsplit(str(self.server.web_url))
        self.channel = grpc.insecure_channel(self.server.target)
        status = StatusBuilder("held")
        status.add_task("a", _SECRET)
        self.tell(WORKFLOW_EXECUTION, WORKFLOW_EXECUTION.encode(status.snapshot()))
        self.tell(AGENT_EXECUTION, AGENT_EXECUTION.encode(AgentStatusBuilder("odd").snapshot()))
        form = f"key={quote(_KEY)}"
        answer = self.ask(self.request("POST", "/login", f"Content-Length: {len(form)}", form))
        self.cookie = re.search(rb"set-cookie: ([^;]+)", answer, re.I)[1].decode()  # type: ignore[index]

    def request(self, method: str, path: str, header: str = "", body: str = "") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.place.netloc}", f"Origin: http://{self.place.netloc}"]
        return "\r\n".join([*lines, "Connection: close", header or "X: y", "", body]).encode()

    def ask(self, data: bytes, *, is_all: bool = False) -> bytes:
        with socket.create_connection((str(self.place.hostname), self.place.port or 0), _TIMEOUT) as line:
            answer = b""
            with contextlib.suppress(OSError):  # it may have hung up
                line.sendall(data)
                if is_all:  # what is no request waits for more; but who hangs up in half is not answered for sure
                    line.shutdown(socket.SHUT_WR)
                while part := line.recv(65536):
                    answer += part
            return answer

    def tell(self, contract: Contract, data: bytes) -> None:
        service = contract.command_service
        call = self.channel.unary_unary(f"/{service}/updateStatus")
        with contextlib.suppress(grpc.RpcError):
            call(data, metadata=[("authorization", f"Bearer {_KEY}")])


_HELD: list[_Held] = []


def page(chance: random.Random) -> None:
    """No request ends in an error of the server's, shows what it must not, or keeps others from being answered."""
    if not _HELD:
        _HELD.append(_Held())
    chance.choice([_bytes, _bytes, _bytes, _frames, _status])(_HELD[0], chance)
    answer = _HELD[0].ask(_HELD[0].request("GET", "/api/executions/workflow/held", f"Cookie: {_HELD[0].cookie}"))
    assert _SECRET.encode() in answer, answer[:300]


def _bytes(held: _Held, chance: random.Random) -> None:
    lines = [b" ".join([chance.choice([b"GET", b"GET", b"POST", b"HEAD", b"x"]), chance.choice(_PATHS), b"HTTP/1.1"])]
    lines += [b"Host: " + held.place.netloc.encode()]
    for _ in range(chance.randint(0, 6)):
        value = chance.choice([*_ODD, b"websocket", b"Upgrade", b"13", b"chunked", b"statusbuilder_session=x", b"null"])
        lines.append(chance.choice(_HEADERS) + b": " + value)
    data = bytearray(b"\r\n".join([*lines, b"", chance.choice([b"", b"key=", b"key=%ff&key=" + chance.choice(_ODD)])]))
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(data))
        data[at : at + chance.choice([0, 1, 4])] = chance.choice([*_ODD, chance.randbytes(3)])
    answer = held.ask(bytes(data), is_all=True)
    _is_a_refusal_or_sealed(answer, bytes(data))
    assert _SECRET.encode() not in answer, bytes(data)


def _is_a_refusal_or_sealed(answer: bytes, data: bytes) -> None:
    if not answer:
        return
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found, (data, answer[:300])
    assert int(found[1]) in (101, 200, 303, 400, 401, 403, 404, 405, 413, 414, 426, 431), (data, answer[:300])
    # uvicorn itself answers what is no HTTP.
    if int(found[1]) not in (101, 400, 414, 426, 431):
        assert b"content-security-policy: default-src 'none'" in answer, (data, answer[:500])


def _frames(held: _Held, chance: random.Random) -> None:
    """What a viewer sends is read and forgotten."""
    headers = {"Origin": f"http://{held.place.netloc}", "Cookie": held.cookie}
    path = chance.choice([one for one in _PATHS if one.startswith(b"/ws")]).decode()
    url = f"ws://{held.place.netloc}{path}"
    with (
        contextlib.suppress(WebSocketException, OSError),
        connect(url, additional_headers=headers, proxy=None, close_timeout=0.2) as line,
    ):
        assert line.recv(_TIMEOUT)
        for _ in range(chance.randint(1, 4)):
            kind = chance.randrange(4)
            if kind == 0:
                line.socket.sendall(chance.randbytes(chance.randint(1, 40)))
            elif kind == 1:
                line.send(chance.choice(_ODD).decode("latin-1"))
            elif kind == 2:
                line.send(chance.randbytes(chance.choice([0, 10, 5_000])))
            else:
                line.ping(chance.randbytes(chance.randint(0, 100)))


def _status(held: _Held, chance: random.Random) -> None:
    """Whatever an execution says, its page is there, with one script, and its JSON is a snapshot."""
    agent = AgentStatusBuilder("odd")
    strange = {"<b>": [1e300, None, "</script>\u202e"]}
    agent.add_task("t", "<script>", input=strange, metadata={"parent_id": "t", "log_url": "javascript:1"})
    agent.add_message(MessageType.AI, "</template><script>alert(1)</script>")
    agent.set_todos(["<img onerror=x>"])
    data, changes = bytearray(AGENT_EXECUTION.encode(agent.snapshot())), chance.randint(0, 8)
    for _ in range(changes):
        at = chance.randrange(len(data))
        data[at : at + chance.choice([0, 1, 4])] = chance.randbytes(chance.choice([0, 1, 4]))
    held.tell(AGENT_EXECUTION, bytes(data))
    for path in ("/executions/agent/odd", "/api/executions/agent/odd", "/api/executions"):
        answer = held.ask(held.request("GET", path, f"Cookie: {held.cookie}"))
        assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
    headers = {"Origin": f"http://{held.place.netloc}", "Cookie": held.cookie}
    for path in ("/ws/page/executions/agent/odd", "/ws/executions/agent/odd"):
        with connect(f"ws://{held.place.netloc}{path}", additional_headers=headers, proxy=None, max_size=None) as line:
            said = line.recv(_TIMEOUT)
            assert "<script" not in str(said) or not path.startswith("/ws/page"), said
            if not path.startswith("/ws/page"):
                assert changes or Snapshot.from_dict(json.loads(said)).task("t").task_name == "<script>"
