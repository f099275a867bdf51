"""The sink over what runners have: channels and stubs, of grpc and of grpc.aio."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from typing import Any

import backend_stubs
import grpc
import pytest
from grpc_kit import PATIENCE, Backend, attempt, begin, certificate, echo, request_of, snapshot, transport_of

from statusbuilder import ContractMismatchError, ExecutionPhase
from statusbuilder.agent.model import AgentSnapshot
from statusbuilder.contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION
from statusbuilder.contracts.wire import agent_pb2, workflow_pb2
from statusbuilder.sinks.grpc import GrpcSink

Input = backend_stubs.message_class("WorkflowExecutionUpdateStatusInput")
Resource = backend_stubs.message_class("WorkflowExecution")


class Stub:
    """What the backend's generated code makes of a channel."""

    def __init__(self, channel: Any) -> None:
        self.updateStatus = channel.unary_unary(
            WORKFLOW_EXECUTION.update_path,
            request_serializer=Input.SerializeToString,
            response_deserializer=Resource.FromString,
        )


class Tagging(grpc.UnaryUnaryClientInterceptor):
    """An interceptor that adds metadata, as runners have them for tracing."""

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        metadata = [*(details.metadata or ()), ("tag", "seen")]
        return continuation(details._replace(metadata=metadata), request)


class Failing(grpc.UnaryUnaryClientInterceptor):
    """An interceptor with a defect."""

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        raise RuntimeError("interceptor broke")


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as running:
        yield running


class LoopThread:
    """An event loop that runs in a thread, and a grpc.aio channel on it."""

    def __init__(self, target: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.channel = self.run(self._open(target))

    async def _open(self, target: str) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(target)

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()


@pytest.fixture
def aio(backend: Backend) -> Iterator[LoopThread]:
    running = LoopThread(backend.target)
    yield running
    if running.loop.is_running():
        running.run(running.channel.close())
        running.stop()
    running.loop.close()


# Synchronous channels


def test_a_channel_is_used_and_stays_the_callers(backend: Backend) -> None:
    """A given channel carries the attempts, blocking ones too, and is open after the sink has closed."""
    with grpc.insecure_channel(backend.target) as channel:
        transport = transport_of(GrpcSink(channel=channel, api_key="k"))
        answer = attempt(transport)
        assert (answer.code, transport.call(request_of(transport), 5.0).code) == ("OK", "OK")
        transport.renew()
        transport.close()
        assert backend.received.get(timeout=PATIENCE).metadata["authorization"] == "Bearer k"
        body = request_of(transport).body[1]
        assert channel.unary_unary(WORKFLOW_EXECUTION.update_path)(body, timeout=PATIENCE)


def test_interceptors_of_a_channel_are_kept(backend: Backend) -> None:
    """Attempts go through the channel's interceptors; one that raises is a failed attempt."""
    with grpc.insecure_channel(backend.target) as channel:
        transport = transport_of(GrpcSink(channel=grpc.intercept_channel(channel, Tagging())))
        assert attempt(transport).code == "OK"
        assert transport.call(request_of(transport), 5.0).code == "OK"
        assert backend.received.get(timeout=PATIENCE).metadata["tag"] == "seen"
        broken = transport_of(GrpcSink(channel=grpc.intercept_channel(channel, Failing())))
        answer = attempt(broken)
        assert answer.code != "OK"
        assert "interceptor broke" in answer.reason
        assert "interceptor broke" in broken.call(request_of(broken), 5.0).reason


def test_a_closed_channel_is_a_failed_attempt(backend: Backend) -> None:
    """A channel that its owner has closed fails each attempt with a reason, and raises nothing."""
    channel = grpc.insecure_channel(backend.target)
    transport = transport_of(GrpcSink(channel=channel))
    channel.close()
    for answer in (attempt(transport), transport.call(request_of(transport), 5.0)):
        assert (answer.code, answer.answered, answer.in_doubt) == ("UNAVAILABLE", False, False)
        assert "is closed" in answer.reason


def test_a_channel_that_is_closed_already_is_taken(backend: Backend) -> None:
    """A sink over a channel that was closed before it is made like any other, and delivers nothing."""
    channel = grpc.insecure_channel(backend.target)
    stub = Stub(channel)
    channel.close()
    for sink in (GrpcSink(channel=channel), GrpcSink.from_stub(stub.updateStatus, Input)):
        assert sink.target == "the backend"
        sink.send(snapshot())
        assert not sink.close(0.0)


def test_closing_a_sink_ends_attempts_on_a_given_channel(backend: Backend) -> None:
    """`close` ends what is under way, in doubt, though the channel goes on."""
    release = threading.Event()
    backend.handler = lambda body, context: echo(body, context) if release.wait(PATIENCE) else b""
    with grpc.insecure_channel(backend.target) as channel:
        transport = transport_of(GrpcSink(channel=channel))
        box = begin(transport, request_of(transport))
        backend.received.get(timeout=PATIENCE)
        transport.close()
        assert box.get_nowait().in_doubt
        release.set()


def test_a_channels_own_limit_for_answers_is_no_failure(backend: Backend) -> None:
    """Where the caller's channel refuses a large echo, the request was applied all the same."""
    large = workflow_pb2.WorkflowExecution(api_version="x" * 5_000_000).SerializeToString()
    backend.handler = lambda body, context: large
    with grpc.insecure_channel(backend.target) as channel:
        transport = transport_of(GrpcSink(channel=channel))
        answer = attempt(transport)
        assert (answer.code, answer.too_large, answer.shows) == ("OK", False, None)


def test_a_forked_child_leaves_the_parents_channel_alone(backend: Backend) -> None:
    """After a fork a given channel is the parent's; the child is told to make another one."""
    with grpc.insecure_channel(backend.target) as channel:
        transport = transport_of(GrpcSink(channel=channel))
        transport.after_fork()
        for answer in (attempt(transport), transport.call(request_of(transport), 5.0)):
            assert "belongs to the parent process" in answer.reason


# Keys on given channels


def test_a_key_stays_off_an_unencrypted_channel_of_unknown_target(backend: Backend) -> None:
    """Where it cannot be told where a channel leads, gRPC keeps the key off it unless it is encrypted."""
    with grpc.insecure_channel(backend.target) as channel:
        hidden = grpc.intercept_channel(channel, Tagging())
        method = hidden.unary_unary(WORKFLOW_EXECUTION.update_path)
        transport = transport_of(GrpcSink.from_stub(Hiding(method), workflow_pb2_input(), api_key="k"))
        answer = attempt(transport)
        assert answer.code == "UNAUTHENTICATED"
        assert "allow_insecure_key=True" in answer.reason
        assert backend.received.empty()
        allowed = GrpcSink.from_stub(Hiding(method), workflow_pb2_input(), api_key="k", allow_insecure_key=True)
        attempt(transport_of(allowed))
        assert backend.received.get(timeout=PATIENCE).metadata["authorization"] == "Bearer k"


def test_a_key_goes_over_credentials_that_encrypt() -> None:
    """Credentials of the caller's carry the key once gRPC has found them to encrypt, and it arrives each time."""
    made = certificate()
    with Backend(tls=made) as backend:
        creds = grpc.ssl_channel_credentials(made.pem)
        options = [("grpc.ssl_target_name_override", "localhost")]
        with grpc.secure_channel(backend.target, creds, options) as channel:
            method = channel.unary_unary(WORKFLOW_EXECUTION.update_path)
            transport = transport_of(GrpcSink.from_stub(Hiding(method), workflow_pb2_input(), api_key="k"))
            for _ in range(2):
                attempt(transport)
                assert backend.received.get(timeout=PATIENCE).metadata["authorization"] == "Bearer k"


class Hiding:
    """A wrapper of a stub's method, as instrumentation makes them, that does not show its channel."""

    def __init__(self, method: Any) -> None:
        self.__method = method

    def with_call(self, request: Any, **options: Any) -> Any:
        return self.__method.with_call(request.SerializeToString(), **options)

    def future(self, request: Any, **options: Any) -> Any:
        return self.__method.future(request.SerializeToString(), **options)


def workflow_pb2_input() -> Any:
    return workflow_pb2.WorkflowExecutionUpdateStatusInput


# Stubs


def test_a_stub_of_the_backend_is_called_with_its_own_classes(backend: Backend) -> None:
    """`from_stub` sends through the stub's method, and compares the answer that it returns."""
    with grpc.insecure_channel(backend.target) as channel:
        transport = transport_of(GrpcSink.from_stub(Stub(channel).updateStatus, Input))
        answer = attempt(transport, 4)
        got = backend.received.get(timeout=PATIENCE)
        assert Input.FromString(got.body).status.tasks[0].task_id == "a"
        assert got.metadata["statusbuilder-revision"] == "4"
        assert answer.shows is not None
        assert answer.shows()
        again = transport.call(request_of(transport), 5.0)
        assert again.shows is not None
        assert again.shows()


class Threadless:
    """A stub's method in a process that starts no more threads, which `.future()` may need."""

    def __init__(self, method: Any) -> None:
        self.with_call = method.with_call

    def future(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("can't start new thread")


def test_an_attempt_that_gets_no_thread_is_made_without_one(backend: Backend) -> None:
    """Where no thread can be started, at exit or at the system's limit, the attempt is made all the same."""
    with grpc.insecure_channel(backend.target) as channel:
        transport = transport_of(GrpcSink.from_stub(Threadless(Stub(channel).updateStatus), Input))
        assert attempt(transport).code == "OK"
        transport.close()


def test_a_stub_that_answers_nothing_to_compare_is_a_success(backend: Backend) -> None:
    """An answer of another type, or an empty one, cannot be compared."""
    with grpc.insecure_channel(backend.target) as channel:
        method = channel.unary_unary(
            WORKFLOW_EXECUTION.update_path,
            request_serializer=Input.SerializeToString,
            response_deserializer=lambda data: Resource(),
        )
        assert attempt(transport_of(GrpcSink.from_stub(method, Input))).shows is None


@pytest.mark.parametrize("kind", ["workflow", "agent"])
def test_the_request_class_says_which_contract_it_is(kind: str) -> None:
    """The fields of the request class pick the contract."""
    request_type: Any = {
        "workflow": Input,
        "agent": backend_stubs.message_class("AgentExecutionUpdateStatusInput"),
    }[kind]
    with grpc.insecure_channel("localhost:1") as channel:
        method = channel.unary_unary("/any/updateStatus")
        transport = transport_of(GrpcSink.from_stub(method, request_type))
        assert transport.kind(snapshot()) == kind


@pytest.mark.parametrize("request_type", [Resource, agent_pb2.AgentExecution, workflow_pb2.WorkflowTask])
def test_a_class_that_fits_no_contract_is_refused(request_type: Any) -> None:
    """A request class without the fields that are sent is refused at once, each difference by name."""
    with grpc.insecure_channel("localhost:1") as channel:
        method = channel.unary_unary("/any/updateStatus")
        with pytest.raises(ContractMismatchError, match="execution_id"):
            GrpcSink.from_stub(method, request_type)


@pytest.mark.parametrize("request_type", [None, "Input", dict, Input()])
def test_what_is_no_generated_class_is_refused(request_type: Any) -> None:
    """Anything but a generated class is a TypeError that says what to give."""
    with grpc.insecure_channel("localhost:1") as channel:
        method = channel.unary_unary("/any/updateStatus")
        with pytest.raises(TypeError, match="not a generated protobuf class"):
            GrpcSink.from_stub(method, request_type)


class Controller:
    def updateStatus(self, request: Any, context: Any) -> Any:
        """Do nothing."""


def update(request: Any) -> Any:
    """Do nothing."""


@pytest.mark.parametrize(
    ("method", "remedy"),
    [
        (Controller(), "Give its method updateStatus"),
        (Controller().updateStatus, "give the stub's own method"),
        (update, "give the stub's own method"),
        (Controller, "Give its method updateStatus"),
        (grpc.UnaryUnaryMultiCallable, "stub.updateStatus"),
        (None, "stub.updateStatus"),
        ("updateStatus", "stub.updateStatus"),
    ],
)
def test_what_is_no_stubs_method_is_refused(method: Any, remedy: str) -> None:
    """Anything but a method of a stub is a TypeError that names the remedy."""
    with pytest.raises(TypeError, match=remedy):
        GrpcSink.from_stub(method, Input)


def test_a_channel_is_not_a_stubs_method() -> None:
    """A channel where a method is expected is a TypeError that names the remedy."""
    with grpc.insecure_channel("localhost:1") as channel, pytest.raises(TypeError, match="channel="):
        GrpcSink.from_stub(channel, Input)


@pytest.mark.parametrize(
    ("channel", "remedy"),
    [
        ("localhost:1", "as the first argument"),
        (grpc.Channel, "Give an instance"),
        (object(), "from_stub"),
        (Controller(), "from_stub"),
    ],
)
def test_what_is_no_channel_is_refused(channel: Any, remedy: str) -> None:
    """Anything but a channel is a TypeError that names the remedy."""
    with pytest.raises(TypeError, match=remedy):
        GrpcSink(channel=channel)


def test_a_stub_or_its_method_is_not_a_channel() -> None:
    """A stub, or its method, where a channel is expected is a TypeError that points to `from_stub`."""
    with grpc.insecure_channel("localhost:1") as channel:
        for given in (Stub(channel), Stub(channel).updateStatus):
            with pytest.raises(TypeError, match="from_stub"):
                GrpcSink(channel=given)  # type: ignore[arg-type]


# grpc.aio


def test_an_aio_channel_sends_on_its_loop(backend: Backend, aio: LoopThread) -> None:
    """A channel of grpc.aio carries the attempts, blocking ones too, from any thread."""
    if GrpcSink(channel=aio.channel).target != backend.target:
        pytest.skip("this gRPC does not tell where an aio channel leads, so that no key is sent")
    transport = transport_of(GrpcSink(channel=aio.channel, api_key="k"))
    answer = attempt(transport)
    assert answer.shows is not None
    assert answer.shows()
    assert transport.call(request_of(transport), 5.0).code == "OK"
    transport.renew()
    transport.close()
    assert backend.received.get(timeout=PATIENCE).metadata["authorization"] == "Bearer k"


def test_a_key_stays_off_an_unencrypted_aio_channel_to_another_machine(aio: LoopThread) -> None:
    """A key for an unencrypted aio channel that leads away is not sent, and the reason names the remedy."""

    async def distant() -> grpc.aio.Channel:
        return grpc.aio.insecure_channel("192.0.2.1:80")

    channel = aio.run(distant())
    answer = attempt(transport_of(GrpcSink(channel=channel, api_key="k")))
    aio.run(channel.close())
    assert answer.code == "UNAUTHENTICATED"
    assert "over an unencrypted channel" in answer.reason
    assert "allow_insecure_key=True" in answer.reason


def test_an_aio_stub_is_called_on_its_loop(backend: Backend, aio: LoopThread) -> None:
    """`from_stub` takes a method of a grpc.aio stub."""

    async def make() -> Stub:
        return Stub(aio.channel)

    transport = transport_of(GrpcSink.from_stub(aio.run(make()).updateStatus, Input))
    answer = attempt(transport)
    assert answer.shows is not None
    assert answer.shows()


def test_an_aio_attempt_has_the_backends_answer(backend: Backend, aio: LoopThread) -> None:
    """Refusals, trailers and deadlines of an aio channel are told as those of another."""
    transport = transport_of(GrpcSink(channel=aio.channel))
    release = threading.Event()

    def slow(body: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("grpc-retry-pushback-ms", "70"),))
        if not release.wait(1.0 if context.time_remaining() > 3 else PATIENCE):
            context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        return b""

    backend.handler = slow
    busy = attempt(transport, timeout=PATIENCE)
    assert (busy.code, busy.answered, busy.retry_after) == ("UNAVAILABLE", True, 0.07)
    late = attempt(transport, timeout=0.3)
    assert (late.code, late.answered, late.in_doubt) == ("DEADLINE_EXCEEDED", False, True)
    release.set()


def test_a_blocked_loop_sends_nothing_that_is_given_up(backend: Backend, aio: LoopThread) -> None:
    """What a loop gets to when the attempt's time is up is not sent, so that it cannot arrive after what is newer."""
    transport = transport_of(GrpcSink(channel=aio.channel))
    assert attempt(transport).code == "OK"
    blocked, release = threading.Event(), threading.Event()
    aio.loop.call_soon_threadsafe(lambda: (blocked.set(), release.wait(PATIENCE)))
    assert blocked.wait(PATIENCE)
    old, new = (begin(transport, request_of(transport), seconds) for seconds in (0.2, PATIENCE))
    threading.Timer(0.5, release.set).start()
    late = old.get(timeout=PATIENCE)
    assert (late.code, late.answered, late.in_doubt) == ("DEADLINE_EXCEEDED", False, False)
    assert "the event loop" in late.reason
    assert new.get(timeout=PATIENCE).code == "OK"
    assert backend.received.qsize() == 2


def test_an_aio_attempt_without_a_connection_leaves_no_doubt(aio: LoopThread) -> None:
    """An aio channel that never connected has sent nothing."""

    async def dead() -> grpc.aio.Channel:
        return grpc.aio.insecure_channel("127.0.0.1:1")

    channel = aio.run(dead())
    transport = transport_of(GrpcSink(channel=channel))
    failed = attempt(transport)
    aio.run(channel.close())
    assert (failed.code, failed.answered, failed.in_doubt) == ("UNAVAILABLE", False, False)


def test_a_closed_aio_channel_is_a_failed_attempt(aio: LoopThread) -> None:
    """An aio channel that its owner has closed fails the attempt; one under way ends in doubt."""
    transport = transport_of(GrpcSink(channel=aio.channel))
    aio.run(aio.channel.close())
    answer = attempt(transport)
    assert (answer.answered, answer.in_doubt) == (False, False)
    assert "is closed" in answer.reason


def test_an_aio_channel_closed_under_an_attempt_leaves_a_doubt(backend: Backend, aio: LoopThread) -> None:
    """Closing the channel with an attempt under way ends it without an answer."""
    release = threading.Event()
    backend.handler = lambda body, context: echo(body, context) if release.wait(PATIENCE) else b""
    transport = transport_of(GrpcSink(channel=aio.channel))
    box = begin(transport, request_of(transport))
    backend.received.get(timeout=PATIENCE)
    aio.run(aio.channel.close())
    answer = box.get(timeout=PATIENCE)
    release.set()
    assert (answer.code, answer.answered, answer.in_doubt) == ("CANCELLED", False, True)


def test_closing_a_sink_ends_attempts_on_an_aio_channel(backend: Backend, aio: LoopThread) -> None:
    """`close` ends what is under way on the loop, in doubt."""
    release = threading.Event()
    backend.handler = lambda body, context: echo(body, context) if release.wait(PATIENCE) else b""
    transport = transport_of(GrpcSink(channel=aio.channel))
    box = begin(transport, request_of(transport))
    backend.received.get(timeout=PATIENCE)
    transport.close()
    assert box.get_nowait().in_doubt
    release.set()


def test_a_stopped_or_closed_loop_is_a_failed_attempt(backend: Backend, aio: LoopThread) -> None:
    """When the loop of an aio channel has ended, attempts fail with a reason; one under way ends with the next."""
    release = threading.Event()
    backend.handler = lambda body, context: echo(body, context) if release.wait(PATIENCE) else b""
    transport = transport_of(GrpcSink(channel=aio.channel))
    box = begin(transport, request_of(transport))
    backend.received.get(timeout=PATIENCE)
    loop = aio.loop
    task = asyncio.run_coroutine_threadsafe(all_tasks(), loop).result(PATIENCE)
    aio.stop()
    stopped = attempt(transport)
    assert (stopped.answered, stopped.in_doubt) == (False, False)
    assert "is not running" in stopped.reason
    assert box.get_nowait().in_doubt
    release.set()
    loop.run_until_complete(asyncio.gather(*task, aio.channel.close(), return_exceptions=True))
    loop.close()
    for answer in (attempt(transport), transport.call(request_of(transport), 5.0)):
        assert "loop of the channel that the sink was given is closed" in answer.reason
    transport.close()


async def all_tasks() -> list[Any]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


def test_a_blocking_attempt_on_its_own_loop_is_refused(aio: LoopThread) -> None:
    """The loop that has to send cannot be waited for on itself."""
    transport = transport_of(GrpcSink(channel=aio.channel))

    async def block() -> Any:
        return transport.call(request_of(transport), 5.0)

    assert "use aclose()" in aio.run(block()).reason
    assert transport.call(request_of(transport), 0.0).code == "DEADLINE_EXCEEDED"


def test_an_aio_channel_in_a_forked_child_is_the_parents(aio: LoopThread) -> None:
    """After a fork the child neither uses the loop nor the channel."""
    transport = transport_of(GrpcSink(channel=aio.channel))
    transport.after_fork()
    assert "belongs to the parent process" in attempt(transport).reason
    transport.close()


# Contracts


def test_auto_picks_the_contract_by_the_snapshot(backend: Backend) -> None:
    """An agent's snapshot goes to the agents' service, over the same sink."""
    transport = transport_of(GrpcSink(backend.target))
    backend.handler = lambda body, context: b""
    made = AgentSnapshot("aex_1", epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS)
    memo = transport.memo()
    box: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for one in (snapshot(), made):
        transport.start(transport.prepare(memo, one, None), 5.0, box.put)
        assert box.get(timeout=PATIENCE).code == "OK"
    paths = [backend.received.get(timeout=PATIENCE).path for _ in range(2)]
    transport.close()
    assert paths == [WORKFLOW_EXECUTION.update_path, AGENT_EXECUTION.update_path]


@pytest.mark.parametrize(
    ("contract", "name"), [("agent", "agent"), ("workflow", "workflow"), (AGENT_EXECUTION, "agent")]
)
def test_a_contract_may_be_given(contract: Any, name: str) -> None:
    """A contract by name or by value holds for all snapshots."""
    transport = transport_of(GrpcSink("localhost:1", contract=contract))
    assert transport.kind(snapshot()) == name
    with pytest.raises(ValueError, match="contract is 'workflows'"):
        GrpcSink("localhost:1", contract="workflows")  # type: ignore[arg-type]
