"""The page for people: what it shows and how it is kept new, and who may see it, with a server as users run it."""

from __future__ import annotations

import contextlib
import gc
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_calls import TIMEOUT, Process
from view_values import agent, carrying, orders

from statusbuilder import AgentSnapshot, ExecutionPhase, Snapshot, StatusBuilder, Task, TaskStatus
from statusbuilder.server import Server, ServerStartError
from statusbuilder.sinks.grpc import GrpcSink

pytest.importorskip("uvicorn", reason="the extra web is not there")
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

KEY = "correct horse"


class Visitor:
    """A browser in small: it knows a server's page, and the cookie that it was given."""

    def __init__(self, url: str | None) -> None:
        assert url is not None
        self.place = urlsplit(url)
        self.cookie = ""

    @property
    def host(self) -> str:
        return self.place.netloc

    def ask(
        self, path: str, method: str = "GET", body: str | bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Return the status, the headers and the text of an answer."""
        line = http.client.HTTPConnection(self.host, timeout=TIMEOUT)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie:
            given.setdefault("Cookie", self.cookie)
        with contextlib.closing(line):
            line.request(method, path, body, given)
            answer = line.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()

    def login(self, key: str, **headers: str) -> tuple[int, dict[str, str], str]:
        form = {"Content_Type": "application/x-www-form-urlencoded", "Origin": f"http://{self.host}", **headers}
        status, found, text = self.ask("/login", "POST", urlencode({"key": key}), **form)
        self.cookie = found.get("set-cookie", "").split(";")[0] or self.cookie
        return status, found, text

    def watch(self, path: str, **headers: str) -> ClientConnection:
        """Open a WebSocket, with the headers of a page of the server."""
        given = {"Origin": f"http://{self.host}", **headers}
        if self.cookie:
            given["Cookie"] = self.cookie
        return connect(
            f"ws://{self.host}{path}", additional_headers=given, open_timeout=TIMEOUT, max_size=None, proxy=None
        )


def refused(open_: Callable[[], ClientConnection]) -> int:
    """Return the status with which a WebSocket is refused."""
    with pytest.raises(InvalidStatus) as caught:
        open_()
    return caught.value.response.status_code


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(web=0) as server:
        yield server


@pytest.fixture
def sink(server: Server) -> Iterator[GrpcSink]:
    with GrpcSink(server.target) as sink:
        yield sink


def show(sink: GrpcSink, *snapshots: Snapshot) -> None:
    for snapshot in snapshots:
        sink.send(snapshot)
    assert sink.flush(TIMEOUT)


def last_of(socket: ClientConnection, until: Callable[[Any], bool]) -> Any:
    """Return the first message that is as wanted."""
    while not until(message := json.loads(socket.recv(TIMEOUT))):
        pass
    return message


def test_it_lists_executions_the_newest_first(server: Server, sink: GrpcSink) -> None:
    """Executions of both kinds are in one list, with phase, counts, and where the whole is."""
    show(sink, agent(), orders(), carrying())
    with StatusBuilder("wex_new", sinks=[sink]):
        pass
    status, headers, text = Visitor(server.web_url).ask("/api/executions")
    assert (status, headers["content-type"]) == (200, "application/json")
    found = json.loads(text)
    assert found[0]["execution_id"] == "wex_new"
    assert {one["execution_id"]: one["phase"] for one in found[1:]} == {
        "wex_orders": "FAILED",
        "wex_catalogue": "IN_PROGRESS",
        "aex_build": "IN_PROGRESS",
    }
    listed = next(one for one in found if one["execution_id"] == "aex_build")
    assert (listed["kind"], listed["tasks"]) == ("agent", 2)
    assert Visitor(server.web_url).ask(listed["url"])[0] == 200


def test_all_executions_are_there_page_by_page(server: Server, sink: GrpcSink) -> None:
    """A page has a hundred, and leads to the older ones; a number that is none is the first page."""
    for number in range(150):
        sink.send(Snapshot(f"wex_{number}", epoch=1, revision=1))
        assert number % 50 or sink.flush(TIMEOUT)
    assert sink.flush(TIMEOUT)
    visitor = Visitor(server.web_url)
    first, second = (json.loads(visitor.ask(f"/api/executions?page={page}")[2]) for page in ("x", 2))
    assert (len(first), len(second)) == (100, 50)
    assert {one["execution_id"] for one in first + second} == {f"wex_{number}" for number in range(150)}
    assert 'href="/?page=2">Older' in visitor.ask("/")[2]
    assert 'href="/?page=1">Newer' in visitor.ask("/?page=2")[2]
    with visitor.watch("/ws/page/?page=2") as socket:
        assert len(json.loads(socket.recv(TIMEOUT))["order"]["executions"]) == 50


@pytest.mark.parametrize("execution_id", ["wex_1", "a/b c?d#e", "日本", "..", "%2F", "a\nb", "a\n"])
def test_an_execution_is_its_snapshot_by_get_and_by_websocket(
    server: Server, sink: GrpcSink, execution_id: str
) -> None:
    """Both say `Snapshot.to_dict()`; any id is found, percent-encoded."""
    with StatusBuilder(execution_id, sinks=[sink]) as status, status.task("t", input={"page": 1}):
        pass
    assert sink.flush(TIMEOUT)
    visitor, path = Visitor(server.web_url), f"/executions/workflow/{quote(execution_id, safe='')}"
    text = visitor.ask(f"/api{path}")[2]
    with visitor.watch(f"/ws{path}") as socket:
        assert socket.recv(TIMEOUT) == text
    held = Snapshot.from_dict(json.loads(text))
    assert (held.execution_id, held.phase, held.task("t").input) == (execution_id, status.snapshot().phase, {"page": 1})
    assert (held.epoch, held.revision) == (status.snapshot().epoch, status.snapshot().revision)
    assert visitor.ask(path)[0] == 200


def test_changes_come_by_websocket_and_the_last_always(server: Server, sink: GrpcSink) -> None:
    """A viewer may miss states of an execution that changes all the time, but not its end."""
    with StatusBuilder("wex_1", sinks=[sink]) as status:
        status.add_task("t", status=TaskStatus.IN_PROGRESS)
        assert status.flush(TIMEOUT)
        with Visitor(server.web_url).watch("/ws/executions/workflow/wex_1") as socket:
            seen = [json.loads(socket.recv(TIMEOUT))]
            for number in range(200):
                status.update_task_status("t", TaskStatus.IN_PROGRESS, f"step {number}")
            status.update_task_status("t", TaskStatus.COMPLETED)
            status.__exit__(None, None, None)
            while seen[-1]["phase"] != "COMPLETED":
                seen.append(json.loads(socket.recv(TIMEOUT)))
    assert len(seen) < 200
    assert seen[-1]["tasks"][0]["status"] == "COMPLETED"


def test_an_agent_is_whole(server: Server, sink: GrpcSink) -> None:
    """An agent's JSON has its messages and todos."""
    show(sink, agent())
    held = AgentSnapshot.from_dict(json.loads(Visitor(server.web_url).ask("/api/executions/agent/aex_build")[2]))
    assert held.messages[0].content == "Why is the build red?"
    assert len(held.todos) == 2


@pytest.mark.parametrize(
    "path", ["/executions/workflow/nobody", "/executions/agent/wex_orders", "/executions/x/wex_orders"]
)
def test_what_is_not_there_is_404(server: Server, sink: GrpcSink, path: str) -> None:
    """An unknown id, the other kind, and a kind that is none are 404, also for a WebSocket."""
    show(sink, orders())
    visitor = Visitor(server.web_url)
    assert [visitor.ask(prefix + path)[0] for prefix in ("", "/api")] == [404, 404]
    assert [refused(lambda prefix=prefix: visitor.watch(prefix + path)) for prefix in ("/ws", "/ws/page")] == [404, 404]  # type: ignore[misc]
    assert visitor.ask("/elsewhere")[0] == 404


# Who may see it


def test_every_answer_keeps_others_out(server: Server) -> None:
    """Each answer, errors too, has a policy that loads nothing from elsewhere, and is not kept."""
    for path in ("/", "/page.js", "/page.css", "/api/executions", "/login", "/elsewhere", "/executions/workflow/no"):
        headers = Visitor(server.web_url).ask(path)[1]
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';"), path
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")


PATHS = ("/", "/api/executions", "/api/executions/workflow/wex_orders", "/executions/workflow/wex_orders", "/page.js")
SOCKETS = ("/ws/page/", "/ws/page/executions/workflow/wex_orders", "/ws/executions/workflow/wex_orders")


@pytest.fixture
def locked() -> Iterator[Visitor]:
    """A server with a key and an execution."""
    with Server(web=0, api_key=KEY) as server:
        with GrpcSink(server.target, api_key=KEY) as sink:
            show(sink, orders())
        yield Visitor(server.web_url)


def test_with_a_key_nothing_is_shown_without_a_session(locked: Visitor) -> None:
    """Pages lead to the login, all else is 401, and a WebSocket is refused before it opens."""
    assert [locked.ask(path)[0] for path in PATHS] == [401] * 5
    assert locked.ask("/", Accept="text/html")[1]["location"] == "/login"
    assert [refused(lambda path=path: locked.watch(path)) for path in SOCKETS] == [401] * 3  # type: ignore[misc]
    assert KEY not in locked.ask("/login")[2]


def test_the_key_opens_a_session(locked: Visitor) -> None:
    """The right key gives a cookie that scripts and other sites cannot use; with it everything is shown."""
    status, headers, text = locked.login("wrong")
    assert (status, "set-cookie" in headers, "This is not the key" in text) == (401, False, True)
    status, headers, _ = locked.login(KEY)
    assert (status, headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(headers["set-cookie"].split("; "))
    assert [locked.ask(path)[0] for path in PATHS] == [200] * 5
    for path in SOCKETS:
        with locked.watch(path) as socket:
            assert json.loads(socket.recv(TIMEOUT))
    locked.cookie = locked.cookie[:-1] + ("x" if locked.cookie[-1] != "x" else "y")
    assert [locked.ask(path)[0] for path in PATHS] == [401] * 5


def test_the_key_opens_nothing_in_a_url(locked: Visitor) -> None:
    """A key in an address, which logs and histories keep, is none."""
    for path in (f"/login?{urlencode({'key': KEY})}", f"/?{urlencode({'key': KEY})}"):
        assert "set-cookie" not in locked.ask(path)[1]
    assert locked.ask(f"/api/executions?{urlencode({'key': KEY})}", Authorization=f"Bearer {KEY}")[0] == 401


def test_a_form_that_is_too_large_is_refused(locked: Visitor) -> None:
    """A login of a megabyte is not read to its end."""
    assert locked.login("x" * 1_000_000)[0] == 413


def test_another_host_is_refused(locked: Visitor) -> None:
    """A name that somebody else's DNS led to this machine is none of ours, with a session, too."""
    locked.login(KEY)
    port = locked.place.port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", ""):
        assert [locked.ask(path, Host=host)[0] for path in (*PATHS, "/login")] == [403] * 6, host
    assert [locked.ask(path, Host=f"localhost:{port}")[0] for path in PATHS] == [200] * 5


def test_a_usual_port_need_not_be_named() -> None:
    """Browsers leave the port out where it is the one of the scheme."""
    server = Server(web=80)
    try:
        server.start()
    except ServerStartError:
        pytest.skip("port 80 is in use, or only for root")
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop)
        visitor = Visitor(server.web_url)
        hosts = ("127.0.0.1", "127.0.0.1:80", "localhost", "evil.example")
        assert [visitor.ask("/", Host=host)[0] for host in hosts] == [200, 200, 200, 403]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:1"])
def test_another_origin_is_refused(locked: Visitor, origin: str) -> None:
    """A page of somebody else can neither open a WebSocket, nor log in, nor read."""
    locked.login(KEY)
    assert [refused(lambda path=path: locked.watch(path, Origin=origin)) for path in SOCKETS] == [403] * 3  # type: ignore[misc]
    assert [locked.ask(path, Origin=origin)[0] for path in PATHS] == [403] * 5
    assert locked.login(KEY, Origin=origin)[0] == 403


def test_a_websocket_without_an_origin_is_refused(locked: Visitor) -> None:
    """Browsers always tell it; whoever does not has the API."""
    locked.login(KEY)
    headers = {"Cookie": locked.cookie}
    url = f"ws://{locked.host}{SOCKETS[-1]}"
    assert refused(lambda: connect(url, additional_headers=headers, proxy=None)) == 403


def test_it_listens_on_loopback(server: Server) -> None:
    """Unless another address is named, nobody else's machine reaches it."""
    assert Visitor(server.web_url).place.hostname == "127.0.0.1"


PREFIXES = st.sampled_from(["/", "/login", "/api/executions/", "/executions/workflow/"])
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(TEXTS, TEXTS, st.binary(max_size=300), PREFIXES)
def test_odd_requests_hurt_nothing(locked: Visitor, path: str, header: str, body: bytes, prefix: str) -> None:
    """Whatever is in a path, a cookie, a form: the answer is a refusal, and never an error of the server."""
    value = quote(header)
    given = {"Cookie": f"statusbuilder_session={value}", "Origin": f"http://{locked.host}", "Accept": value or "*/*"}
    for method in ("GET", "POST"):
        status, headers, _ = locked.ask(prefix + quote(path), method, body, **given)
        assert status in (200, 303, 401, 403, 404, 405, 413)
        assert headers["cache-control"] == "no-store"


# Load, and its life


def test_many_viewers_and_one_that_does_not_read(server: Server, sink: GrpcSink) -> None:
    """Two hundred viewers see the end of an execution, beside one that reads nothing of it."""
    with StatusBuilder("wex_1", sinks=[sink]) as status, contextlib.ExitStack() as stack:
        for number in range(300):
            status.add_task(f"t{number}", "A task with a name " * 5, input={"text": "x" * 1000})
        assert status.flush(TIMEOUT)
        visitor = Visitor(server.web_url)
        sockets = [stack.enter_context(visitor.watch(SOCKETS[1].replace("wex_orders", "wex_1"))) for _ in range(201)]
        for number in range(300):
            status.update_task_status(f"t{number}", TaskStatus.COMPLETED)
        status.close()  # all tasks, while the execution goes on
        ends: list[str] = []

        def read(socket: ClientConnection) -> None:
            ends.append(last_of(socket, lambda news: "300 completed" in news["parts"].get("head", ""))["title"])

        readers = [threading.Thread(target=read, args=(socket,)) for socket in sockets[1:]]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(TIMEOUT)
    assert len(ends) == 200


def test_who_has_gone_costs_nothing(server: Server, sink: GrpcSink) -> None:
    """Of viewers that went away nothing stays behind, also where the execution does not change any more."""
    show(sink, carrying(True))
    for path in SOCKETS * 10:
        with Visitor(server.web_url).watch(path.replace("wex_orders", "wex_catalogue")) as socket:
            assert socket.recv(TIMEOUT)
    deadline = time.monotonic() + TIMEOUT
    while viewers := sum(type(one) is WebSocket for one in gc.get_objects()):
        assert time.monotonic() < deadline, viewers


def test_an_error_is_there_in_full(server: Server, sink: GrpcSink) -> None:
    """However long an error is, none of it is left out."""
    error = "\n".join(f"line {number} of a log" for number in range(5_000))
    task = Task("t", "Long", status=TaskStatus.FAILED, error=error)
    show(sink, Snapshot("wex_1", epoch=1, revision=1, phase=ExecutionPhase.FAILED, tasks=(task,), error=error))
    with Visitor(server.web_url).watch(SOCKETS[1].replace("wex_orders", "wex_1")) as socket:
        parts = json.loads(socket.recv(TIMEOUT))["parts"]
    assert error in parts["t0"]
    assert error in parts["head"]


def test_only_what_changed_is_sent(server: Server, sink: GrpcSink) -> None:
    """Of 2,000 tasks a viewer gets the row that changed, and not the list anew."""
    with StatusBuilder("wex_1", sinks=[sink]) as status:
        for number in range(2000):
            status.add_task(f"t{number}", f"Task {number}")
        assert status.flush(TIMEOUT)
        with Visitor(server.web_url).watch(SOCKETS[1].replace("wex_orders", "wex_1")) as socket:
            first = json.loads(socket.recv(TIMEOUT))
            assert len(first["order"]["tasks"]) == 2000
            status.update_task_status("t7", TaskStatus.IN_PROGRESS)
            news = json.loads(socket.recv(TIMEOUT))
    assert set(news["parts"]) <= {"t7", "head"}
    assert news["order"] == {}


def test_the_command_prints_where_the_page_is(tmp_path: Path) -> None:
    """`serve --web 0` takes a free port and says which; a port that is taken is one line, and exit status 2."""
    process = Process("--port", "0", "--web", "0", "--db", tmp_path / "db")
    try:
        assert process.process.stdout is not None
        line = process.process.stdout.readline()
        assert line.startswith("page for people at http://127.0.0.1:")
        url = line.split()[-1]
        assert Visitor(url).ask("/")[0] == 200
        second = Process("--port", "0", "--web", str(urlsplit(url).port))
        _, errors = second.process.communicate(timeout=TIMEOUT)
        assert second.process.returncode == 2
        assert "Choose another port for the page." in errors
        assert len(errors.splitlines()) == 1
    finally:
        process.process.terminate()
        process.process.communicate(timeout=TIMEOUT)
    assert process.process.returncode == 0
