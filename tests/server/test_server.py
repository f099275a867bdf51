"""The server's calls: requests that are wrong, versions, reading, lists, keys, limits, life cycle."""

from __future__ import annotations

import contextlib
import pickle
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from server_calls import TIMEOUT, Calls, held, numbers

from statusbuilder import errors
from statusbuilder.contracts.wire import workflow_pb2
from statusbuilder.server import Server, ServerStartError
from statusbuilder.server._store import Store

NAMES = ("WorkflowExecution", "AgentExecution")
Code = grpc.StatusCode


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(params=NAMES)
def calls(request: pytest.FixtureRequest, server: Server) -> Iterator[Calls]:
    with Calls(server.target, request.param) as calls:
        yield calls


def refused(code: grpc.StatusCode, call: Callable[..., Any], *arguments: Any) -> grpc.RpcError:
    """Make a call that must be answered with `code`; return what it raises."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    assert caught.value.code() is code, caught.value
    return caught.value


# Wrong requests


def test_empty_execution_id_is_invalid(calls: Calls) -> None:
    """Every call that names no execution is answered with INVALID_ARGUMENT."""
    refused(Code.INVALID_ARGUMENT, calls.update, "")
    refused(Code.INVALID_ARGUMENT, calls.get, "")
    refused(Code.INVALID_ARGUMENT, next, calls.subscribe(""))


def test_missing_status_is_invalid_and_creates_nothing(calls: Calls) -> None:
    """An update without a status is INVALID_ARGUMENT, and the text names the execution."""
    request = calls.request("no-status")
    request.ClearField("status")
    assert "no-status" in refused(Code.INVALID_ARGUMENT, calls.send, request).details()
    refused(Code.NOT_FOUND, calls.get, "no-status")


def test_bytes_that_are_no_message_are_invalid(calls: Calls) -> None:
    """A request that does not parse is the client's mistake, and the server goes on."""
    update = calls.channel.unary_unary(calls.path("CommandController", "updateStatus"))
    refused(Code.INVALID_ARGUMENT, update, b"\xff\xff\xff")
    calls.update("after-garbage", phase=1)


def test_get_of_an_unknown_execution_is_not_found(calls: Calls) -> None:
    """NOT_FOUND names the kind and the id."""
    text = refused(Code.NOT_FOUND, calls.get, "nobody").details()
    assert calls.name in text
    assert "'nobody'" in text


def test_unknown_method_is_unimplemented(calls: Calls) -> None:
    """A method that the backend does not have is UNIMPLEMENTED."""
    refused(Code.UNIMPLEMENTED, calls.channel.unary_unary(calls.path("CommandController", "delete")), b"")


# Versions


def test_older_update_is_refused_and_told_what_is_held(calls: Calls) -> None:
    """A smaller revision, or a smaller epoch with whatever revision, is FAILED_PRECONDITION and changes nothing."""
    calls.update("stale", (5, 7), error="newest")
    for version in ((5, 6), (4, 900), (0, 0)):
        error = refused(Code.FAILED_PRECONDITION, calls.update, "stale", version)
        assert held(error) == (5, 7)
        assert "epoch 5, revision 7" in error.details()
    assert calls.get("stale").status.error == "newest"


def test_same_and_newer_versions_are_accepted(calls: Calls) -> None:
    """The same version again is a repeated send, and a larger epoch begins its revisions anew."""
    for version in ((5, 7), (5, 7), (5, 8), (6, 1)):
        _, call = calls.send(calls.request("newer", phase=2), version)
        assert held(call) == version
    assert held(calls.get_with_call("newer")[1]) == (6, 1)


def test_version_compares_as_a_pair_of_numbers(server: Server) -> None:
    """Numbers are compared as numbers, not as texts, up to the largest."""
    with Calls(server.target) as calls:
        calls.update("numbers", (9, 9))
        calls.update("numbers", (10, 1))
        calls.update("numbers", (2**63 - 1, 2**63 - 1))
        refused(Code.FAILED_PRECONDITION, calls.update, "numbers", (2**63 - 1, 2**63 - 2))


def test_update_without_version_is_merged_and_keeps_the_version(calls: Calls) -> None:
    """A client that sends no numbers is merged always; the stored numbers stay, and go on refusing older updates."""
    calls.update("mixed", (5, 7), error="versioned")
    merged, call = calls.send(calls.request("mixed", error="plain"))
    assert merged.status.error == "plain"
    assert held(call) == (5, 7)
    refused(Code.FAILED_PRECONDITION, calls.update, "mixed", (5, 6))


def test_answers_without_version_have_no_trailers(calls: Calls) -> None:
    """An execution that never got numbers shows none; the first ones are taken whatever they are."""
    _, call = calls.send(calls.request("plain", phase=1))
    assert held(call) is None
    assert held(calls.get_with_call("plain")[1]) is None
    assert held(calls.send(calls.request("plain", phase=2), (0, 0))[1]) == (0, 0)


@pytest.mark.parametrize("bad", ["", "x", "-1", "+1", "1.0", " 1", "1_0", str(2**63), "9" * 30])
def test_malformed_version_is_invalid(server: Server, bad: str) -> None:
    """A number that is not a decimal from 0 to 2**63 - 1 is INVALID_ARGUMENT, and nothing is stored."""
    with Calls(server.target) as calls:
        update = calls.updates
        for key, other in (("epoch", "revision"), ("revision", "epoch")):
            metadata = ((f"statusbuilder-{key}", bad), (f"statusbuilder-{other}", "1"))
            refused(
                Code.INVALID_ARGUMENT,
                lambda given: update(calls.request("bad"), metadata=given, timeout=TIMEOUT),
                metadata,
            )
        refused(Code.NOT_FOUND, calls.get, "bad")


def test_half_a_version_is_invalid(server: Server) -> None:
    """One of the two numbers without the other is INVALID_ARGUMENT."""
    with Calls(server.target) as calls:
        for pair in numbers((1, 1)):
            with pytest.raises(grpc.RpcError) as caught:
                calls.updates(calls.request("half"), metadata=(pair,), timeout=TIMEOUT)
            assert caught.value.code() is Code.INVALID_ARGUMENT


# Strict


@pytest.mark.parametrize("name", NAMES)
def test_strict_server_creates_nothing(tmp_path: Path, name: str) -> None:
    """A strict server answers NOT_FOUND for unknown executions, and updates those that are there."""
    database = tmp_path / "executions.db"
    with Server(database) as server, Calls(server.target, name) as calls:
        calls.update("known", phase=1)
    with Server(database, strict=True) as server, Calls(server.target, name) as calls:
        refused(Code.NOT_FOUND, calls.update, "unknown")
        refused(Code.NOT_FOUND, next, calls.subscribe("unknown"))
        refused(Code.NOT_FOUND, calls.get, "unknown")
        assert calls.update("known", phase=2).status.phase == 2


# Lists


@pytest.fixture(params=NAMES)
def many(request: pytest.FixtureRequest) -> Iterator[Calls]:
    """Give a server with 25 executions of one kind, every fifth COMPLETED, and one of the other kind."""
    with Server() as server, Calls(server.target, request.param) as calls:
        for number in range(25):
            calls.update(f"ex-{number:02}", phase=3 if number % 5 == 0 else 2)
        (other,) = set(NAMES) - {request.param}
        with Calls(server.target, other) as others:
            others.update("other")
        yield calls


def ids(answer: Any) -> list[str]:
    return [entry.metadata.id for entry in answer.entries]


def test_list_is_paged_newest_first(many: Calls) -> None:
    """Pages follow each other from the newest execution to the oldest, and total_pages says how many there are."""
    newest_first = [f"ex-{number:02}" for number in reversed(range(25))]
    pages = [many.list(page_size=10, page_token=token) for token in ("", "2", "3")]
    assert [page.total_pages for page in pages] == [3, 3, 3]
    assert [entry for page in pages for entry in ids(page)] == newest_first
    assert ids(many.list(page_size=10, page_token="1")) == newest_first[:10]
    assert pages[0].entries[0] == many.get("ex-24")


def test_list_keeps_its_order_when_executions_change(many: Calls) -> None:
    """An update moves no execution to another page."""
    before = ids(many.list())
    many.update("ex-03", phase=4)
    assert ids(many.list()) == before


def test_list_sizes_have_a_default_and_a_limit(many: Calls) -> None:
    """Without a size a page has 20 entries; a huge size is cut, not refused."""
    assert len(many.list().entries) == 20
    assert many.list(page_size=2**31 - 1).total_pages == 1


def test_list_filters_by_phase(many: Calls) -> None:
    """With a phase only its executions are listed and counted; tags change nothing."""
    answer = many.list(phase=3, page_size=4, tags=["any"])
    assert answer.total_pages == 2
    assert ids(answer) == ["ex-20", "ex-15", "ex-10", "ex-05"]
    assert many.list(phase=5).total_pages == 0


def test_list_beyond_the_end_is_empty(many: Calls) -> None:
    """A page that is not there has no entries, however far away it is."""
    for token in ("4", "999999999"):
        answer = many.list(page_size=10, page_token=token)
        assert (answer.total_pages, len(answer.entries)) == (3, 0)


def test_list_refuses_nonsense(many: Calls) -> None:
    """A negative size, and a token that is no page's number, are INVALID_ARGUMENT."""
    for fields in ({"page_size": -1}, {"page_token": "0"}, {"page_token": "x"}, {"page_token": "-1"}):
        with pytest.raises(grpc.RpcError) as caught:
            many.list(**fields)
        assert caught.value.code() is Code.INVALID_ARGUMENT


# Keys and limits


@pytest.mark.parametrize("name", NAMES)
def test_api_key_is_asked_for_by_every_call(name: str) -> None:
    """With a key, calls without it or with another one are UNAUTHENTICATED, and the text does not give it away."""
    with Server(api_key="s3cret") as server:
        for key in (None, "wrong", "s3cre", "s3cret2", ""):
            with Calls(server.target, name, key=key) as calls:
                for attempt in (calls.update, calls.get):
                    assert "s3cret" not in refused(Code.UNAUTHENTICATED, attempt, "any").details()
                refused(Code.UNAUTHENTICATED, calls.list)
                refused(Code.UNAUTHENTICATED, next, calls.subscribe("any"))
        with Calls(server.target, name, key="s3cret") as calls:
            refused(Code.NOT_FOUND, calls.get, "any")
            calls.update("any", phase=3)
            assert next(calls.subscribe("any")).status.phase == 3
            assert ids(calls.list()) == ["any"]


def test_empty_api_key_is_a_mistake() -> None:
    """An empty key would protect nothing, so the call that gives it is wrong."""
    with pytest.raises(ValueError, match="empty"):
        Server(api_key="")


def test_request_limit_is_exact() -> None:
    """A request of max_message_bytes is accepted, one byte more is RESOURCE_EXHAUSTED, and the channel stays usable."""
    with Server(max_message_bytes=10_000) as server, Calls(server.target) as calls:
        request = calls.request("big", error="x" * 9_000)
        request.status.error += "x" * (10_000 - request.ByteSize())
        assert request.ByteSize() == 10_000
        calls.send(request)
        request.status.error += "x"
        refused(Code.RESOURCE_EXHAUSTED, calls.send, request)
        assert len(calls.get("big").status.error) == len(request.status.error) - 1


def test_answer_may_be_larger_than_a_request() -> None:
    """The merged resource is answered whole, although it exceeds what one request may have."""
    with Server(max_message_bytes=10_000) as server, Calls(server.target) as calls:
        calls.update("big", error="x" * 9_000)
        merged = calls.update("big", tasks=[workflow_pb2.WorkflowTask(task_id="y" * 9_000)])
        assert merged.ByteSize() > 18_000


# Health


def check_health(target: str, service: str = "") -> int:
    with grpc.insecure_channel(target) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        status: int = check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT).status
        return status


def test_health_service_answers_without_a_key() -> None:
    """The standard health service knows the server and its services, and probes need no key."""
    with Server(api_key="key") as server, Calls(server.target) as calls:
        service = calls.path("CommandController", "updateStatus")[1:].partition("/")[0]
        for name in ("", service):
            assert check_health(server.target, name) == health_pb2.HealthCheckResponse.SERVING


def test_health_service_can_be_left_out() -> None:
    """With health=False the server has no such service."""
    with Server(health=False) as server:
        refused(Code.UNIMPLEMENTED, check_health, server.target)


# Life cycle


def test_executions_outlive_the_server(tmp_path: Path) -> None:
    """What is in the file is there for the next server: status, version and order."""
    database = tmp_path / "executions.db"
    with Server(database) as server, Calls(server.target) as calls:
        calls.update("one", (3, 4), error="kept")
        calls.update("two")
    with Server(str(database)) as server, Calls(server.target) as calls:
        resource, call = calls.get_with_call("one")
        assert resource.status.error == "kept"
        assert held(call) == (3, 4)
        assert ids(calls.list()) == ["two", "one"]


def test_temporary_database_goes_with_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path nothing is left behind."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Server() as server, Calls(server.target) as calls:
        calls.update("one")
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_stopped_server_can_be_started_again_on_its_port(tmp_path: Path) -> None:
    """An outage: after stop nothing answers, after start the same port does."""
    server = Server(tmp_path / "executions.db")
    server.start()
    port = server.port
    with Calls(server.target) as calls:
        calls.update("one", phase=2)
    server.stop()
    server.stop()
    with Calls(server.target) as calls:
        refused(Code.UNAVAILABLE, calls.get, "one")
    with server, Calls(server.target) as calls:
        assert server.port == port
        assert calls.get("one").status.phase == 2


def test_running_server_cannot_be_started_twice() -> None:
    """A second start is a RuntimeError and leaves the server running."""
    with Server() as server, Calls(server.target) as calls:
        with pytest.raises(RuntimeError, match="running already"):
            server.start()
        calls.update("one")


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="cannot interrupt its main thread")
def test_interrupted_start_ends_and_leaves_nothing_running(tmp_path: Path) -> None:
    """Ctrl-C while the server is starting ends the start with KeyboardInterrupt, and the server with it."""
    interrupted, known = threading.Event(), threading.enumerate()

    class Database:
        """A path that takes as long to be read as the interrupt needs."""

        def __fspath__(self) -> str:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            assert interrupted.wait(TIMEOUT)
            return str(tmp_path / "executions.db")

    def interrupt(*_: object) -> None:
        interrupted.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        server = Server(Database())  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            server.start()
    finally:
        signal.signal(signal.SIGINT, before)
    assert "not running" in repr(server)
    assert "statusbuilder-server" not in [thread.name for thread in threading.enumerate() if thread not in known]


def test_server_says_where_it_is() -> None:
    """target, port and repr name the real port; a wildcard address is reached over the loopback one."""
    with Server(host="0.0.0.0") as server, Calls(server.target) as calls:
        assert server.target == f"127.0.0.1:{server.port}"
        assert repr(server) == f"<Server 0.0.0.0:{server.port} running>"
        calls.update("one")
    assert repr(server) == f"<Server 0.0.0.0:{server.port} not running>"


def test_server_listens_on_ipv6() -> None:
    """An IPv6 address is put into brackets."""
    with Server(host="::1") as server, Calls(server.target) as calls:
        assert server.target == f"[::1]:{server.port}"
        calls.update("one")


def test_taken_port_is_an_error() -> None:
    """Two servers never share a port; the error names the address, and the first server goes on."""
    with Server() as server, Calls(server.target) as calls:
        with pytest.raises(ServerStartError, match=f"127.0.0.1:{server.port}"):
            Server(port=server.port).start()
        calls.update("one")


def test_wrong_host_is_an_error() -> None:
    """A name that is no address of this machine cannot be listened on."""
    with pytest.raises(ServerStartError, match=r"host\.invalid"):
        Server(host="host.invalid").start()


@pytest.mark.parametrize("make", ["text", "directory", "missing", "foreign", "newer"])
def test_unusable_database_is_an_error_and_stays_as_it_is(tmp_path: Path, make: str) -> None:
    """A file that is not ours is refused by name and not written to; the server can be given another one."""
    path = tmp_path / "there"
    if make == "text":
        path.write_bytes(b"This is a text, longer than the header of a database file. " * 10)
    elif make == "directory":
        path.mkdir()
    elif make == "missing":
        path = tmp_path / "no" / "such" / "folder.db"
    else:
        if make == "newer":
            Store(path).close()
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 2" if make == "newer" else "CREATE TABLE notes (text)")
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ServerStartError, match=str(path)) as caught:
        Server(path).start()
    assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_start_error_survives_pickling() -> None:
    """The error carries its facts as attributes, derives from the library's base, and round-trips through pickle."""
    error = pickle.loads(pickle.dumps(ServerStartError("127.0.0.1:1", "taken.")))
    assert (error.what, error.reason) == ("127.0.0.1:1", "taken.")
    assert str(error) == "The server cannot start: 127.0.0.1:1: taken."
    assert isinstance(error, errors.StatusBuilderError)
