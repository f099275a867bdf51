"""One attempt after another over real connections: what is sent, what an answer says, and how connections are left."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_kit import PATIENCE, Backend, attempt, begin, echo, refuse, request_of, snapshot, transport_of
from places import KITS

from statusbuilder.contracts.wire import rpc_pb2, workflow_pb2
from statusbuilder.sinks.grpc import GrpcSink


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as running:
        yield running


@pytest.fixture
def transport(backend: Backend) -> Iterator[Any]:
    made = transport_of(GrpcSink(backend.target))
    yield made
    made.close()


# What is sent, and what comes back


def test_a_request_carries_the_state_and_its_version(backend: Backend, transport: Any) -> None:
    """The backend gets the contract's bytes, at its path, with epoch and revision as metadata, and no key."""
    answer = attempt(transport, 3)
    got = backend.received.get(timeout=PATIENCE)
    request = workflow_pb2.WorkflowExecutionUpdateStatusInput.FromString(got.body)
    assert (request.execution_id, request.status.tasks[0].task_id) == ("wex_1", "a")
    assert got.path.endswith("WorkflowExecutionCommandController/updateStatus")
    assert (got.metadata["statusbuilder-epoch"], got.metadata["statusbuilder-revision"]) == ("7", "3")
    assert "authorization" not in got.metadata
    assert (answer.code, answer.answered, answer.in_doubt, answer.held) == ("OK", True, False, None)


def test_a_blocking_attempt_sends_the_same(backend: Backend, transport: Any) -> None:
    """An attempt at the exit of the interpreter has the same metadata and answer."""
    answer = transport.call(request_of(transport, 3), 5.0)
    assert backend.received.get(timeout=PATIENCE).metadata["statusbuilder-revision"] == "3"
    assert answer.code == "OK"
    assert answer.shows is not None
    assert answer.shows()


def test_a_key_is_sent_as_a_bearer_token(backend: Backend) -> None:
    """The API key travels as `authorization: Bearer <key>`."""
    transport = transport_of(GrpcSink(backend.target, api_key="k-1"))
    attempt(transport)
    transport.close()
    assert backend.received.get(timeout=PATIENCE).metadata["authorization"] == "Bearer k-1"


def test_a_callable_is_asked_for_the_key_of_each_attempt(backend: Backend) -> None:
    """A callable's present key is sent; when it raises or gives none, that attempt fails."""
    keys = iter(["k-1", "k-2", "bad\n", None, KeyError("vault")])

    def key() -> str:
        found = next(keys)
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[return-value]

    transport = transport_of(GrpcSink(backend.target, api_key=key))
    for expected in ("Bearer k-1", "Bearer k-2"):
        assert attempt(transport).code == "OK"
        assert backend.received.get(timeout=PATIENCE).metadata["authorization"] == expected
    for reason in ("white space", "not NoneType", "raised KeyError: 'vault'"):
        answer = attempt(transport)
        assert (answer.code, answer.answered, answer.in_doubt) == ("UNAVAILABLE", False, False)
        assert reason in answer.reason
    assert not transport.call(request_of(transport), 5.0).answered  # StopIteration
    transport.close()
    assert backend.received.empty()


def test_an_answer_tells_whether_it_shows_what_was_sent(backend: Backend, transport: Any) -> None:
    """The echo is compared with the request; an empty one says nothing, and one that cannot be read shows nothing."""
    shown = attempt(transport).shows
    backend.handler = lambda body, context: workflow_pb2.WorkflowExecution(status={"phase": 3}).SerializeToString()
    other = attempt(transport).shows
    backend.handler = lambda body, context: b"\xff\xff\xff"
    unreadable = attempt(transport).shows
    backend.handler = lambda body, context: b""
    assert attempt(transport).shows is None
    assert shown is not None
    assert other is not None
    assert unreadable is not None
    assert (shown(), other(), unreadable()) == (True, False, False)


def test_what_the_backend_holds_is_read_from_the_trailers(backend: Backend, transport: Any) -> None:
    """Epoch and revision are taken from the trailers of any answer; half of them or nonsense is none."""
    trailers = (("statusbuilder-epoch", "9"), ("statusbuilder-revision", "12"))

    def accept(body: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata(trailers)
        return echo(body, context)

    backend.handler = accept
    assert attempt(transport).held == (9, 12)
    backend.handler = refuse(grpc.StatusCode.FAILED_PRECONDITION, "stale", *trailers)
    answer = attempt(transport)
    assert (answer.code, answer.held, answer.answered) == ("FAILED_PRECONDITION", (9, 12), True)
    backend.handler = refuse(grpc.StatusCode.FAILED_PRECONDITION, "stale", trailers[0])
    assert attempt(transport).held is None
    backend.handler = refuse(
        grpc.StatusCode.FAILED_PRECONDITION, "stale", trailers[0], ("statusbuilder-revision", "-1")
    )
    assert attempt(transport).held is None


def retry_info(seconds: int, nanos: int) -> tuple[str, bytes]:
    status = rpc_pb2.Status(code=14)
    detail = status.details.add()
    detail.type_url = "type.googleapis.com/google.rpc.RetryInfo"
    detail.value = rpc_pb2.RetryInfo(retry_delay={"seconds": seconds, "nanos": nanos}).SerializeToString()
    return ("grpc-status-details-bin", status.SerializeToString())


@pytest.mark.parametrize(
    ("trailer", "seconds"),
    [
        (("grpc-retry-pushback-ms", "250"), 0.25),
        (("grpc-retry-pushback-ms", "-1"), -1.0),
        (("grpc-retry-pushback-ms", "later"), -1.0),
        (retry_info(2, 500_000_000), 2.5),
        (retry_info(-5, 0), 0.0),
        (("grpc-status-details-bin", b"\xff\xff"), None),
        (("other", "1"), None),
    ],
)
def test_the_backend_may_say_when_to_come_again(
    backend: Backend, transport: Any, trailer: tuple[str, str | bytes], seconds: float | None
) -> None:
    """Pushback and RetryInfo become the seconds to wait; an unusable pushback means not to come again."""
    backend.handler = refuse(grpc.StatusCode.UNAVAILABLE, "busy", trailer)
    answer = attempt(transport)
    assert (answer.retry_after, answer.answered) == (seconds, True)


def test_pushback_wins_over_retry_info(backend: Backend, transport: Any) -> None:
    """Where a backend says both, gRPC's own trailer counts; details without a RetryInfo say nothing."""
    backend.handler = refuse(grpc.StatusCode.UNAVAILABLE, "", retry_info(2, 0), ("grpc-retry-pushback-ms", "100"))
    assert attempt(transport).retry_after == 0.1
    other = ("grpc-status-details-bin", rpc_pb2.Status(code=14).SerializeToString())
    backend.handler = refuse(grpc.StatusCode.UNAVAILABLE, "busy", other)
    assert attempt(transport).retry_after is None


def test_a_wait_of_years_is_read_as_it_is(backend: Backend, transport: Any) -> None:
    """However long a wait the backend names, it is told in seconds; what follows is the delivery's to decide."""
    for trailer, seconds in ((retry_info(10**9, 0), 1e9), (("grpc-retry-pushback-ms", str(10**12)), 1e9)):
        backend.handler = refuse(grpc.StatusCode.UNAVAILABLE, "busy", trailer)
        assert attempt(transport).retry_after == seconds


# Size


def test_a_request_that_the_server_finds_too_large_says_so(backend: Backend, transport: Any) -> None:
    """RESOURCE_EXHAUSTED for the request's size is told apart, and the connection goes on."""
    answer = attempt(transport, padding=5_000_000)
    assert (answer.code, answer.too_large, answer.answered, answer.in_doubt) == (
        "RESOURCE_EXHAUSTED",
        True,
        True,
        False,
    )
    assert attempt(transport).code == "OK"


def test_a_request_respects_its_limit(transport: Any) -> None:
    """`prepare` keeps a request within the bytes that it is given, and says how many they are."""
    memo = transport.memo()
    whole = transport.prepare(memo, snapshot(padding=100_000), None)
    cut = transport.prepare(memo, snapshot(padding=100_000), 10_000)
    assert whole.size == len(whole.body[1]) > 100_000
    assert cut.size == len(cut.body[1]) <= 10_000


def test_the_size_of_the_echo_costs_nothing(backend: Backend, transport: Any) -> None:
    """An answer beyond gRPC's default limit for one message is taken."""
    large = workflow_pb2.WorkflowExecution(api_version="x" * 5_000_000).SerializeToString()
    backend.handler = lambda body, context: large
    assert attempt(transport).code == "OK"


def test_an_echo_that_the_server_may_not_send_is_a_success() -> None:
    """A server that applied the request and then finds its own answer too large to send has taken it."""
    with Backend(lambda body, context: b"x" * 50_000, options=[("grpc.max_send_message_length", 10_000)]) as backend:
        transport = transport_of(GrpcSink(backend.target))
        answer = attempt(transport)
        transport.close()
        assert (answer.code, answer.too_large) == ("OK", False)


@pytest.mark.parametrize(
    ("details", "too_large", "applied"),
    [
        ("Received message larger than max (5000 vs. 4000)", True, False),
        ("grpc: received message larger than max (5000 vs. 4000)", True, False),
        ("gRPC message exceeds maximum size 4000: 5000", True, False),
        ("Received message exceeds the maximum configured message size.", True, False),
        ("Error, decoded message length too large: found 5000 bytes, the limit is: 4000 bytes", True, False),
        ("SERVER: Received message larger than max (5000 vs. 4000)", True, False),
        ("SERVER: Received message larger than max (4194305 vs. 4194304)", True, False),
        ("CLIENT: Sent message larger than max (5000 vs. 4000)", True, False),
        ("Sent message larger than max (5000 vs. 4000)", True, False),
        ("Stream removed (CLIENT: Received message larger than max (7000 vs. 4000))", False, True),
        ("Received message larger than max (7000 vs. 4000)", False, True),
        ("SERVER: Sent message larger than max (7000 vs. 4000)", False, True),
        ("grpc: trying to send message larger than max (7000 vs. 4000)", False, True),
        ("Sending message exceeds the maximum configured message size.", False, True),
        ("received metadata size exceeds hard limit (value length 17000 vs. 16384)", False, False),
        ("quota of the tenant is exhausted", False, False),
    ],
)
def test_whose_message_is_too_large_is_told_by_the_words(
    backend: Backend, details: str, too_large: bool, applied: bool
) -> None:
    """The words of gRPC's implementations tell a request that is too large from an answer that is."""
    with grpc.insecure_channel(backend.target) as channel:
        transport = transport_of(GrpcSink(channel=channel))
        request = request_of(transport, padding=5000)
        backend.handler = refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, details.replace("5000", str(request.size)))
        answer = begin(transport, request).get(timeout=PATIENCE)
    assert (answer.too_large, answer.code == "OK") == (too_large, applied)


@pytest.mark.parametrize("text", ["SERVER: Received message larger", "Received message larger"])
def test_on_a_channel_of_its_own_only_a_request_can_be_received_too_large(
    backend: Backend, transport: Any, text: str
) -> None:
    """The sink's own channels take answers of any size, so that these words are the server's, whatever they name."""

    def refuse(body: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{text} than max (5000000 vs. 4194304)")

    backend.handler = refuse
    answer = attempt(transport)
    assert (answer.code, answer.too_large) == ("RESOURCE_EXHAUSTED", True)


# Doubt


@pytest.mark.parametrize(
    ("code", "details", "answered", "in_doubt"),
    [
        ("UNAVAILABLE", "Socket closed", False, True),
        ("UNAVAILABLE", "Stream removed (Socket closed)", False, True),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer", False, True),
        ("UNAVAILABLE", "keepalive watchdog timeout", False, True),
        ("UNAVAILABLE", "GOAWAY received", False, True),
        ("UNAVAILABLE", "Cancelling all calls", False, True),
        ("UNAVAILABLE", "upstream connect error or disconnect/reset before headers", False, True),
        ("UNAVAILABLE", "DNS resolution failed for x: C-ares status is not ARES_SUCCESS", False, False),
        ("UNAVAILABLE", "the database is restarting", True, False),
        ("UNKNOWN", "Stream removed", False, True),
        ("UNKNOWN", "Exception calling application: boom", True, False),
        ("INTERNAL", "Received RST_STREAM with error code 2", False, True),
        ("INTERNAL", "no such table", True, False),
        ("CANCELLED", "Received RST_STREAM with error code 8", False, True),
        ("CANCELLED", "Locally cancelled by application!", False, True),
        ("CANCELLED", "", False, True),
        ("CANCELLED", "the tenant is being removed", True, False),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", False, True),
        ("DEADLINE_EXCEEDED", "the database took too long", True, False),
        ("ABORTED", "Socket closed", True, False),
        ("UNAVAILABLE", "upstream request timeout", True, True),
        ("DEADLINE_EXCEEDED", "upstream request timeout", True, True),
        ("INTERNAL", "bad gateway", True, True),
    ],
)
def test_only_what_may_have_arrived_is_in_doubt(
    backend: Backend, transport: Any, code: str, details: str, answered: bool, in_doubt: bool
) -> None:
    """An end without an answer is in doubt once the request may have left, and so is one that a proxy tells."""
    backend.handler = refuse(getattr(grpc.StatusCode, code), details)
    answer = attempt(transport)
    assert (answer.answered, answer.in_doubt) == (answered, in_doubt)


def test_a_deadline_leaves_a_doubt(backend: Backend, transport: Any) -> None:
    """An attempt whose request arrived, and that got no answer in time, may still be applied."""
    assert attempt(transport).code == "OK"  # so that there is a connection, however slow the machine is
    release = threading.Event()
    backend.handler = lambda body, context: echo(body, context) if release.wait(PATIENCE) else b""
    answer = attempt(transport, timeout=0.3)
    release.set()
    assert (answer.code, answer.answered, answer.in_doubt) == ("DEADLINE_EXCEEDED", False, True)
    assert "no answer" in answer.reason


def test_closing_ends_what_is_under_way(backend: Backend, transport: Any) -> None:
    """`close` returns at once, ends attempts in doubt, and later ones end without being sent."""
    release = threading.Event()
    backend.handler = lambda body, context: echo(body, context) if release.wait(PATIENCE) else b""
    box = begin(transport, request_of(transport))
    backend.received.get(timeout=PATIENCE)
    transport.close()
    answer = box.get_nowait()
    release.set()
    assert (answer.code, answer.answered, answer.in_doubt) == ("CANCELLED", False, True)
    late = begin(transport, request_of(transport)).get_nowait()
    assert (late.code, late.answered, late.in_doubt) == ("CANCELLED", False, False)


def test_renewing_lets_attempts_under_way_finish(backend: Backend, transport: Any) -> None:
    """`renew` moves later attempts to another connection; one under way still gets its answer."""
    arrived, release, peers = threading.Event(), threading.Event(), []

    def handler(body: bytes, context: grpc.ServicerContext) -> bytes:
        peers.append(context.peer())
        if len(peers) == 1:
            arrived.set()
            release.wait(PATIENCE)
        return echo(body, context)

    backend.handler = handler
    first = begin(transport, request_of(transport))
    assert arrived.wait(PATIENCE)
    transport.renew()
    assert attempt(transport).code == "OK"
    release.set()
    assert first.get(timeout=PATIENCE).code == "OK"
    assert len(set(peers)) == 2


# Backends that die, freeze and return

BACKEND = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from grpc_kit import Backend, echo
never = threading.Event()
def handle(body, context):
    if b"hang" in body:
        print("arrived", flush=True)
        never.wait()
    return echo(body, context)
print((backend := Backend(handle)).port, flush=True)
never.wait()
"""


@pytest.fixture
def process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A backend in a process of its own; gives the process and the target."""
    arguments = [sys.executable, "-c", BACKEND, str(KITS)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield running, f"127.0.0.1:{int(running.stdout.readline())}"
        finally:
            running.kill()


def test_a_connection_cut_in_the_middle_leaves_a_doubt(process: tuple[subprocess.Popen[str], str]) -> None:
    """A backend that dies with the request ends the attempt at once, without an answer."""
    running, target = process
    transport = transport_of(GrpcSink(target))
    assert attempt(transport).code == "OK"
    assert running.stdout is not None
    box = begin(transport, request_of(transport, execution_id="hang"), timeout=PATIENCE)
    assert running.stdout.readline() == "arrived\n"
    running.kill()
    answer = box.get(timeout=PATIENCE)
    transport.close()
    assert (answer.code, answer.answered, answer.in_doubt) == ("UNAVAILABLE", False, True)
    assert "was cut before an answer" in answer.reason


def test_a_frozen_backend_holds_no_attempt_for_ever(process: tuple[subprocess.Popen[str], str]) -> None:
    """Bytes that a frozen backend does not take end with the connection."""
    running, target = process
    transport = transport_of(GrpcSink(target, attempt_timeout=1.0))
    assert attempt(transport).code == "OK"
    running.send_signal(signal.SIGSTOP)
    box = begin(transport, request_of(transport, padding=8_000_000), timeout=0.5)
    assert transport.call(request_of(transport, padding=8_000_000), 0.5).code == "DEADLINE_EXCEEDED"
    answer = box.get(timeout=PATIENCE)
    assert not answer.answered
    assert answer.in_doubt
    transport.close()
    running.send_signal(signal.SIGCONT)


def test_a_frozen_connection_is_left_without_waiting_for_it(process: tuple[subprocess.Popen[str], str]) -> None:
    """Neither renewing nor closing waits for bytes that a frozen backend does not take."""
    running, target = process
    transport = transport_of(GrpcSink(target, attempt_timeout=3600.0))
    assert attempt(transport).code == "OK"
    running.send_signal(signal.SIGSTOP)
    boxes = []

    def leave() -> None:
        for left in (transport.renew, transport.close):
            boxes.append(begin(transport, request_of(transport, padding=8_000_000), timeout=3600.0))
            left()

    leaving = threading.Thread(target=leave, daemon=True)
    leaving.start()
    leaving.join(PATIENCE)
    assert not leaving.is_alive()
    assert [box.get(timeout=PATIENCE).code for box in boxes] == ["CANCELLED", "CANCELLED"]
    running.send_signal(signal.SIGCONT)


def test_an_attempt_gets_through_within_a_second_of_the_return() -> None:
    """After an outage attempts succeed soon after the backend listens again; a busy machine may try again."""
    assert any(seconds_until_recovery() < 1.0 for _ in range(5))


def seconds_until_recovery() -> float:
    """Return how long it takes after the end of an outage until an attempt gets through."""
    first = Backend()
    transport = transport_of(GrpcSink(first.target))
    assert attempt(transport).code == "OK"
    first.stop()
    assert not attempt(transport).answered
    with Backend(port=first.port):
        back = time.monotonic()
        while attempt(transport).code != "OK":
            continue
        seconds = time.monotonic() - back
    transport.close()
    return seconds


FORK = """
import os, sys, threading
sys.path.insert(0, sys.argv[1])
from grpc_kit import attempt, begin, request_of
from statusbuilder.sinks.grpc import GrpcSink
transport = GrpcSink(sys.argv[2])._transport
assert attempt(transport).code == "OK"
sending = threading.Event()
stop = threading.Event()
def send():
    while not stop.is_set():
        answer = attempt(transport, execution_id="parent")
        if answer.code != "OK" and answer.answered:  # the fork may cut an attempt, and nothing else
            os._exit(4)
        sending.set()
sender = threading.Thread(target=send)
sender.start()
sending.wait()
child = os.fork()
if child == 0:
    transport.after_fork()
    if sys.argv[3] == "uses":
        for _ in range(5):
            answer = attempt(transport, execution_id="child")
            if answer.code == "OK":
                break
        transport.close()
        sys.exit(0 if answer.code == "OK" else 3)
    sys.exit(0)
_, status = os.waitpid(child, 0)
stop.set()
sender.join()
assert attempt(transport).code == "OK"
transport.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("support", [None, "1"])
@pytest.mark.parametrize("child", ["uses", "does not use"])
def test_a_fork_while_sending_harms_neither_side(backend: Backend, child: str, support: str | None) -> None:
    """The parent goes on sending, and the child sends over a connection of its own, or exits without hanging."""
    arguments = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, str(KITS)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    if support is not None:  # gRPC's own hooks, which hang in the child of a fork during a call
        env["GRPC_ENABLE_FORK_SUPPORT"] = support
    done = subprocess.run([*arguments, backend.target, child], env=env, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


IMPORTS = """
import sys
sys.path.insert(0, sys.argv[1])
import grpc
from grpc_kit import attempt, fetch
from statusbuilder.sinks.grpc import GrpcSink
def send(sink):
    before = set(sys.modules)
    assert attempt(sink._transport).code == "OK"
    fetch(sink._transport)
    sink._transport.close()
    print(*(name for name in set(sys.modules) - before if name.startswith(("grpc", "google", "statusbuilder"))))
send(GrpcSink(sys.argv[2], api_key=lambda: "key"))
send(GrpcSink(channel=grpc.insecure_channel(sys.argv[2]), api_key="key", allow_insecure_key=True))
"""


def test_the_first_attempt_imports_nothing(backend: Backend) -> None:
    """All of gRPC that is needed is imported with the sink: a fork during the first attempt finds nothing half done."""
    arguments = [sys.executable, "-c", IMPORTS, str(KITS), backend.target]
    done = subprocess.run(arguments, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stdout + done.stderr


FIRST = """
import os, sys
from statusbuilder import ExecutionPhase, StatusBuilder
from statusbuilder.sinks.grpc import GrpcSink
sink = GrpcSink(sys.argv[1])
status = StatusBuilder("parent", sinks=[sink])
status.update_status(ExecutionPhase.IN_PROGRESS)
child = os.fork()
if child == 0:
    with StatusBuilder("child", sinks=[sink], close_timeout=20.0) as made:
        pass
    os._exit(made.close()[0].outcome != "delivered")
_, code = os.waitpid(child, 0)
status.update_status(ExecutionPhase.COMPLETED)
[receipt] = status.close(20.0)
sink.close()
sys.exit(os.waitstatus_to_exitcode(code) or receipt.outcome != "delivered")
"""


def test_a_child_that_is_forked_right_after_the_first_change_delivers(backend: Backend) -> None:
    """Parent and child both deliver on one sink when the fork comes at once after the parent's first change."""
    arguments = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FIRST, backend.target]
    for _ in range(3):
        done = subprocess.run(arguments, timeout=60, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


EXIT = """
import sys
sys.path.insert(0, sys.argv[1])
import atexit
from grpc_kit import attempt, request_of
from statusbuilder.sinks.grpc import GrpcSink
transport = GrpcSink(sys.argv[2])._transport
if sys.argv[3] == "used":
    assert attempt(transport).code == "OK"
def at_exit():
    assert transport.call(request_of(transport, 9), 5.0).code == "OK"
    transport.close()
    print("sent")
atexit.register(at_exit)
"""


@pytest.mark.parametrize("before", ["used", "unused"])
def test_an_attempt_can_be_made_while_the_interpreter_exits(backend: Backend, before: str) -> None:
    """A blocking attempt needs no new thread, which an exiting interpreter would refuse, and the exit goes on."""
    arguments = [sys.executable, "-c", EXIT, str(KITS), backend.target, before]
    done = subprocess.run(arguments, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "sent\n"), done.stderr


def test_a_target_that_grpc_cannot_use_is_a_failed_attempt() -> None:
    """What only gRPC finds wrong with a target fails the attempt and raises nothing."""
    transport = transport_of(GrpcSink("unix:" + "x" * 300, tls=False))
    answer = attempt(transport)
    assert (answer.answered, answer.in_doubt) == (False, False)
    assert answer.reason
    assert not transport.call(request_of(transport), 5.0).answered
    transport.close()


def test_nothing_is_opened_before_the_first_attempt() -> None:
    """Making and closing a sink connects to nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        transport = transport_of(GrpcSink(f"127.0.0.1:{listening.getsockname()[1]}"))
        transport.renew()
        transport.after_fork()
        transport.close()
        with pytest.raises(BlockingIOError):
            listening.accept()
