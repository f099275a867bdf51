"""Under a burden: a backend that is killed again and again, connections that nobody pings, and a share of one core."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from itertools import cycle
from pathlib import Path
from time import monotonic, thread_time
from typing import Self

import grpc
import pytest
from grpc_kit import PATIENCE, Backend, attempt, echo, transport_of
from spool_kit import until

from statusbuilder import ExecutionPhase, Outcome, StatusBuilder, TaskStatus
from statusbuilder.client import Client
from statusbuilder.sinks.grpc import GrpcSink

KILLS, PART = 10, 20
EXECUTIONS = KILLS * PART

LIVES = """
import os, sys, threading
from statusbuilder.server import Server  # importing takes longer than all else in a server's life, so once is enough
port = 0
for _ in sys.stdin:
    told, tells = os.pipe()
    if (child := os.fork()) == 0:
        with Server(sys.argv[1], port=port) as server:
            os.write(tells, str(server.port).encode())
            threading.Event().wait()
    port = int(os.read(told, 9))
    print(port, child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def has_sent(sink: GrpcSink, number: int) -> bool:
    """Whether so many were acknowledged."""
    return sink.stats().sent >= number


class Lives:
    """The embedded server in processes of its own, one after the other on one port; each ends when it is killed."""

    def __init__(self, database: Path) -> None:
        command = [sys.executable, "-c", LIVES, str(database)]
        self._running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.port = self._child = 0

    def begin(self) -> None:
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        self._running.stdin.write("\n")
        self.port, self._child = map(int, self._running.stdout.readline().split())

    def end(self) -> None:
        assert self._running.stdout is not None
        os.kill(self._child, signal.SIGKILL)
        assert self._running.stdout.readline() == "dead\n"

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
        self._running.communicate()


def test_a_server_that_is_killed_ten_times_costs_no_execution(tmp_path: Path) -> None:
    """Two hundred executions whose server is killed ten times amid their changes all show their true end."""
    with Lives(tmp_path / "server.db") as server, GrpcSink(f"127.0.0.1:{server.port}", settle=0.1) as sink:
        builders = [StatusBuilder(f"wex_{number}", sinks=[sink], close_timeout=0.0) for number in range(EXECUTIONS)]
        for life in range(KILLS):
            sent = sink.stats().sent
            for builder in builders[life * PART :]:
                builder.add_task(f"task-{life}", status=TaskStatus.IN_PROGRESS)
            for builder in builders[life * PART : (life + 1) * PART]:
                builder.with_error("stopped").close()
            until(partial(has_sent, sink, sent + PART))
            server.end()
            server.begin()
        assert sink.flush(PATIENCE)
        with Client(f"127.0.0.1:{server.port}") as client:
            held = [client.get(f"wex_{number}") for number in range(EXECUTIONS)]
        stats = sink.stats()
    assert {snapshot.phase for snapshot in held} == {ExecutionPhase.FAILED}
    assert [len(snapshot.tasks) for snapshot in held] == [
        1 + number * KILLS // EXECUTIONS for number in range(EXECUTIONS)
    ]
    assert (stats.lost, stats.conflicts, stats.pending) == (0, 0, 0)


def test_a_call_that_lasts_is_not_pinged() -> None:
    """A server that forgives no ping does not end a call that it has not answered for a while: none comes."""
    never = threading.Event()

    def hang(body: bytes, context: grpc.ServicerContext) -> bytes:
        never.wait()
        return echo(body, context)

    strict = [("grpc.so_reuseport", 0), ("grpc.http2.max_ping_strikes", 1)]
    with Backend(hang, options=strict) as backend:
        transport = transport_of(GrpcSink(backend.target))
        answer = attempt(transport, timeout=4.0)
        never.set()
        transport.close()
    assert answer.code == "DEADLINE_EXCEEDED", answer


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such option")
@pytest.mark.parametrize(("attempt_timeout", "seconds"), [(0.2, 1), (7.0, 7)])
def test_a_connection_whose_other_side_is_silently_gone_is_given_up(attempt_timeout: float, seconds: int) -> None:
    """The system itself ends a half-open connection once what was sent stays unconfirmed as long as an attempt may."""
    with Backend() as backend:
        transport = transport_of(GrpcSink(backend.target, attempt_timeout=attempt_timeout))
        assert attempt(transport).code == "OK"
        found = [given_up_after(fd, backend.port) for fd in os.listdir("/proc/self/fd")]
        transport.close()
    assert [milliseconds for milliseconds in found if milliseconds is not None] == [seconds * 1000]


def given_up_after(fd: str, port: int) -> int | None:
    """Return after how many milliseconds the connection to a port is given up; None where it is something else."""
    try:
        with socket.socket(fileno=os.dup(int(fd))) as connection:
            if connection.family in (socket.AF_INET, socket.AF_INET6) and connection.getpeername()[1] == port:
                return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    except OSError:
        pass
    return None


def test_a_delivery_takes_no_more_than_its_share() -> None:
    """Executions that change all the time cost what `max_share` allows, and their ends do not wait for it."""
    most = 0.03
    with Backend() as backend, GrpcSink(backend.target, max_share=most, min_interval=0.001) as sink:
        builders = [StatusBuilder(f"wex_{number}", sinks=[sink]) for number in range(60)]
        share(sink, builders, 3.0)  # until it knows what a send costs
        taken = share(sink, builders, 6.0)
        for builder in builders:
            builder.update_status(ExecutionPhase.COMPLETED)
        receipts = [builder.close(PATIENCE)[0] for builder in builders]
    with Backend() as backend, GrpcSink(backend.target, max_share=10.0, min_interval=0.001) as eager:
        others = [StatusBuilder(f"wex_{number}", sinks=[eager]) for number in range(60)]
        free = share(eager, others, 2.0)
        for builder in others:
            builder.close()
    assert taken < 2.5 * most < free, (taken, free)
    assert {receipt.outcome for receipt in receipts} == {Outcome.DELIVERED}


def test_the_loop_of_a_given_channel_is_not_the_deliverys() -> None:
    """What an application computes on the loop of its channel does not count as the delivery's share."""

    async def work(target: str) -> tuple[float, float]:
        async with grpc.aio.insecure_channel(target) as channel:
            sink = GrpcSink(channel=channel)
            builder, busy = StatusBuilder("wex_7", sinks=[sink]), thread_time() + 2.0
            while thread_time() < busy:
                builder.output = thread_time()
                compute(0.02)
                await asyncio.sleep(0.005)
            await builder.aclose()
            await sink.aclose()
            return thread_time(), sink.stats().cpu_seconds

    with Backend() as backend:
        all_of_it, ours = asyncio.run(work(backend.target))
    assert 0.0 < ours < all_of_it / 2


def compute(seconds: float) -> None:
    """Take so much of the processor."""
    end = thread_time() + seconds
    while thread_time() < end:
        pass


def test_under_gevent_the_application_is_not_the_delivery() -> None:
    """Where all threads are one, the application's, its CPU time does not count as the delivery's share."""
    pytest.importorskip("gevent")
    code = """
from gevent import monkey
monkey.patch_all()
from time import sleep, thread_time
from statusbuilder import Delivery, StatusBuilder
delivery = Delivery(lambda snapshot: None)
with StatusBuilder("a", sinks=[delivery]) as status:
    end = thread_time() + 1.0
    while thread_time() < end:
        status.output = thread_time()
        sleep(0.001)
delivery.close()
print(delivery.stats().sent > 1, delivery.stats().cpu_seconds)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert (result.stdout, result.stderr) == ("True 0.0\n", "")


def share(sink: GrpcSink, builders: list[StatusBuilder], seconds: float) -> float:
    """Change executions for a while; return the share of a core that the sink says it took meanwhile."""
    before, breath = sink.stats(), threading.Event()
    for builder in cycle(builders):
        builder.output = monotonic()
        breath.wait(0.001)
        after = sink.stats()
        if after.age > before.age + seconds:
            return (after.cpu_seconds - before.cpu_seconds) / (after.age - before.age)
    raise AssertionError
