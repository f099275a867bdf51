"""Reading executions from a backend."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
from server_calls import Product, resource
from view_values import agent, orders

from statusbuilder import ExecutionPhase, InsecureChannelError, StatusBuilder, TaskStatus
from statusbuilder.agent.model import AgentSnapshot
from statusbuilder.client import Client
from statusbuilder.contracts import WORKFLOW_EXECUTION
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Serve executions from memory."""
    with Server() as started:
        yield started


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """Read from that server."""
    with Client(server.target) as opened:
        yield opened


def send(server: Server, *execution_ids: str) -> None:
    """Run executions of one task each."""
    with GrpcSink(server.target) as sink:
        for execution_id in execution_ids:
            with StatusBuilder(execution_id, sinks=[sink]) as status, status.task("a", "Only task") as task:
                task.output = {"answer": 42}


def test_get_is_what_was_sent(server: Server, client: Client) -> None:
    """The execution comes back with its tasks, payloads, epoch and revision."""
    with GrpcSink(server.target) as sink:
        sink.send(orders())
        assert sink.flush()
    found = client.get("wex_orders")
    assert found.phase is ExecutionPhase.FAILED
    assert [(task.task_name, task.status) for task in found.tasks] == [
        (task.task_name, task.status) for task in orders().tasks
    ]
    assert found.task("fetch").output == {"rows": 12}
    assert (found.epoch, found.revision) == (orders().epoch, orders().revision)


@pytest.mark.parametrize("call", ["get", "subscribe"])
def test_a_contract_that_is_none_is_named(client: Client, call: str) -> None:
    """A kind of executions that there is not is a ValueError that lists the two."""
    with pytest.raises(ValueError, match="contract is 'agents'; give 'workflow' or 'agent'"):
        list(getattr(client, call)("wex_1", contract="agents"))


def test_get_of_an_agent(server: Server, client: Client) -> None:
    """An agent's execution comes back with its messages and todos."""
    with GrpcSink(server.target) as sink:
        sink.send(agent())
        assert sink.flush()
    found = client.get("aex_build", contract="agent")
    assert isinstance(found, AgentSnapshot)
    assert [message.content for message in found.messages] == [message.content for message in agent().messages]
    assert len(found.todos) == 2


def test_an_execution_that_is_not_there(client: Client) -> None:
    """NOT_FOUND is raised as gRPC's error."""
    with pytest.raises(grpc.RpcError) as caught:
        client.get("nowhere")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_list_goes_through_all_pages(client: Client) -> None:
    """Executions come newest first, over more than one page, and can be chosen by phase."""
    with Server() as fresh, Client(fresh.target) as reader:
        send(fresh, *(f"wex_{number}" for number in range(105)))
        found = list(reader.list())
        assert [snapshot.execution_id for snapshot in found] == [f"wex_{number}" for number in reversed(range(105))]
        assert list(reader.list(phase=ExecutionPhase.FAILED)) == []
        assert list(reader.list(contract="agent")) == []


def test_subscribe_follows_to_the_end(server: Server, client: Client) -> None:
    """The states come in order, each once, and the stream ends with the execution."""
    snapshots = client.subscribe("wex_followed")
    with GrpcSink(server.target, min_interval=0) as sink, StatusBuilder("wex_followed", sinks=[sink]) as status:
        first = next(snapshots)
        status.add_task("a", "A", TaskStatus.IN_PROGRESS)
        assert next(snapshots).progress.running == 1
        status.update_task_status("a", TaskStatus.COMPLETED)
    rest = list(snapshots)
    assert first.phase is ExecutionPhase.IN_PROGRESS
    assert rest[-1].phase is ExecutionPhase.COMPLETED
    assert all(one != next_one for one, next_one in pairwise(rest))


def test_subscribe_goes_on_when_the_server_is_back(tmp_path: Path) -> None:
    """A restart of the server is an outage that is told and survived, without a state twice."""
    path = tmp_path / "executions.db"
    lost = threading.Event()
    with Server(path) as server:
        port, target = server.port, server.target
        with GrpcSink(target) as sink:
            sink.send(orders(ended=False))
            assert sink.flush()
        client = Client(target)
        snapshots = client.subscribe("wex_orders", on_lost=lambda error: lost.set())
        assert next(snapshots).phase is ExecutionPhase.IN_PROGRESS
    found = []
    reader = threading.Thread(target=lambda: found.extend(snapshots))
    reader.start()
    assert lost.wait(10)
    with Server(path, port=port), GrpcSink(target) as sink:
        sink.send(orders())
        reader.join(10)
        assert not reader.is_alive()
    client.close()
    assert [snapshot.phase for snapshot in found] == [ExecutionPhase.FAILED]


@pytest.mark.parametrize("streams", [(), (False,)], ids=["all lost", "the end lost"])
def test_a_last_state_that_a_stream_lost_is_found(streams: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that is quiet is checked with `get`, so that an end that was lost on its way is seen; nothing twice."""
    monkeypatch.setattr("statusbuilder.client._QUIET", 0.2)
    ended, open_ = resource(orders()), resource(orders(ended=False))
    with Product({"wex_orders": ended}, *(open_ for _ in streams)) as product, Client(product.target) as client:
        found = list(client.subscribe("wex_orders"))
    assert [snapshot.is_terminal for snapshot in found] == [*streams, True]


def test_a_quiet_stream_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing was lost the stream is taken up again, and what it shows is not yielded once more."""
    monkeypatch.setattr("statusbuilder.client._QUIET", 0.1)
    held = {"wex_orders": resource(orders(ended=False))}
    with Product(held, resource(orders(ended=False))) as product, Client(product.target) as client:
        lost: list[object] = []
        product.actions[3] = lambda: held.update(wex_orders=resource(orders()))
        found = list(client.subscribe("wex_orders", on_lost=lost.append))
    assert [snapshot.is_terminal for snapshot in found] == [False, True]
    assert lost == []
    assert product.subscribed >= 3


def test_a_backend_that_refuses_unknown_ids_is_not_asked_again() -> None:
    """NOT_FOUND from a stream is raised at once."""
    with Product({}) as product, Client(product.target) as client, pytest.raises(grpc.RpcError) as caught:
        list(client.subscribe("wex_1"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert product.subscribed == 1


def test_patience_ends() -> None:
    """An outage that outlasts the patience is raised."""
    with Server() as server:
        target = server.target
    with Client(target) as client, pytest.raises(grpc.RpcError) as caught:
        list(client.subscribe("wex_1", patience=0.1))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_patience_counts_what_attempts_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage lasts from the first failure on: also the time in which attempts to subscribe wait for an answer."""
    times = [0.0]

    def unavailable(_: bytes, context: Any) -> Iterator[bytes]:
        times.append(times[-1] + 100.0)
        context.abort(grpc.StatusCode.UNAVAILABLE, "try again")
        yield b""

    monkeypatch.setattr("statusbuilder.client.monotonic", lambda: times[-1])
    server = grpc.server(ThreadPoolExecutor(1))
    handlers = {"subscribe": grpc.unary_stream_rpc_method_handler(unavailable)}
    service = WORKFLOW_EXECUTION.subscribe_path.split("/")[1]
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    lost: list[object] = []
    with Client(f"127.0.0.1:{port}") as client, pytest.raises(grpc.RpcError):
        list(client.subscribe("wex_1", patience=150, on_lost=lost.append))
    server.stop(None).wait()
    assert len(lost) == 2


def test_close_ends_a_subscription(server: Server) -> None:
    """A reader that waits for news ends quietly when its client is closed."""
    client = Client(server.target)
    with GrpcSink(server.target) as sink:
        sink.send(orders(ended=False))
        assert sink.flush()
        snapshots = client.subscribe("wex_orders")
        next(snapshots)
        reader = threading.Thread(target=lambda: list(snapshots))
        reader.start()
        client.close()
        reader.join(10)
        assert not reader.is_alive()


def test_close_just_before_a_call_ends_the_subscription(server: Server) -> None:
    """A client that is closed by another thread as it is about to call ends quietly, too."""

    class Closing(Client):
        def _stream(self, *arguments: Any) -> Iterator[bytes]:
            self.close()
            return super()._stream(*arguments)

    assert list(Closing(server.target).subscribe("wex_1")) == []


def test_the_key_is_shown_and_a_wrong_one_is_refused() -> None:
    """The server's key lets calls pass, another is UNAUTHENTICATED, and a subscription does not try again."""
    with Server(api_key="right") as server:
        with Client(server.target, api_key="right") as client:
            assert list(client.list()) == []
        with Client(server.target, api_key="wrong") as client:
            with pytest.raises(grpc.RpcError) as caught:
                list(client.subscribe("wex_1"))
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_key_does_not_travel_unencrypted() -> None:
    """Without TLS a key for another machine is refused before anything is sent."""
    with pytest.raises(InsecureChannelError):
        Client("backend.example.com:443", api_key="k", tls=False)
    Client("backend.example.com:443", api_key="k", tls=False, allow_insecure_key=True).close()


def test_from_env(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """The endpoint comes from the environment, unless it is given; without one the text names the variable."""
    with pytest.raises(ValueError, match="STATUSBUILDER_ENDPOINT"):
        Client.from_env()
    monkeypatch.setenv("STATUSBUILDER_ENDPOINT", "elsewhere.invalid:1")
    with Client.from_env(target=server.target) as client:
        assert client.target == server.target
    monkeypatch.setenv("STATUSBUILDER_ENDPOINT", server.target)
    with Client.from_env() as client:
        assert repr(client) == f"Client({server.target!r})"
