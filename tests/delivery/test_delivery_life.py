"""Life and death of a process with deliveries: exit, fork, signals; each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

PREAMBLE = """
import os, signal, sys, threading, time
from statusbuilder import Delivery, ExecutionPhase, StatusBuilder, TaskStatus

def show(snapshot):
    os.write(1, f"{snapshot.execution_id} {snapshot.phase.name} {snapshot.error or ''}\\n".encode())

def slow(snapshot):
    time.sleep(0.2)
    show(snapshot)

def switch_logging_off():
    import logging.config
    out = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
    logging.config.dictConfig({"version": 1, "handlers": {"out": out}, "root": {"handlers": ["out"], "level": "INFO"}})
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter, which has to end by itself."""
    program = PREAMBLE + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def lines(result: subprocess.CompletedProcess[str]) -> list[str]:
    assert result.returncode == 0, result.stderr
    return [line.strip() for line in result.stdout.splitlines()]


def test_exit_delivers_what_is_outstanding() -> None:
    """The last state of an execution arrives although nobody waited for it; open ones stay as they are."""
    result = python("""
        delivery = Delivery(slow)
        ended, open_ = StatusBuilder("ended", sinks=[delivery]), StatusBuilder("open", sinks=[delivery])
        ended.update_status(ExecutionPhase.COMPLETED)
        ended.close(0.0)
        open_.update_status(ExecutionPhase.IN_PROGRESS)
    """)
    assert sorted(lines(result)) == ["ended COMPLETED", "open IN_PROGRESS"]


def test_exit_waits_no_longer_than_its_timeout() -> None:
    """A sink that never returns does not keep the interpreter; what is lost is said."""
    result = python("""
        delivery = Delivery(lambda snapshot: threading.Event().wait(), close_timeout=0.2)
        builder = StatusBuilder("wex_7", sinks=[delivery])
        builder.update_status(ExecutionPhase.COMPLETED)
        builder.close(0.0)
    """)
    assert lines(result) == []
    assert "not delivered" in result.stderr
    assert "wex_7" in result.stderr


def test_open_executions_fail_at_exit_where_that_is_asked_for() -> None:
    """With `at_exit=FAILED` an execution that is open at exit ends FAILED."""
    result = python("""
        delivery = Delivery(show, at_exit=ExecutionPhase.FAILED)
        builder = StatusBuilder("open", sinks=[delivery])
        builder.update_status(ExecutionPhase.IN_PROGRESS)
        builder.flush()
    """)
    assert lines(result)[-1] == "open FAILED the runner process exited"


def test_what_is_delivered_at_exit_is_no_outage() -> None:
    """A last change that is delivered while the interpreter exits says nothing on stderr."""
    result = python("""
        from statusbuilder.server import Server
        from statusbuilder.sinks.grpc import GrpcSink
        server = Server()
        server.start()
        builder = StatusBuilder("a", sinks=[GrpcSink(server.target)])
        builder.update_status(ExecutionPhase.IN_PROGRESS)
        builder.add_task("t")
    """)
    assert "cannot be reached" not in result.stderr
    assert "not delivered" not in result.stderr


def test_a_first_change_at_exit_is_delivered() -> None:
    """Even a builder that is first used by an exit handler, when threads may not start any more, is delivered."""
    result = python("""
        import atexit
        delivery = Delivery(show)
        builder = StatusBuilder("late", sinks=[delivery])
        atexit.register(builder.update_status, ExecutionPhase.CANCELLED)
    """)
    assert lines(result) == ["late CANCELLED cancelled"]


def test_a_builder_left_open_at_exit_raises_nothing() -> None:
    """A builder that nobody closed ends with the process, without a word on stderr."""
    result = python("""
        builder = StatusBuilder("a", sinks=[Delivery(show)])
        builder.update_status(ExecutionPhase.COMPLETED)
    """)
    assert lines(result) == ["a COMPLETED"]
    assert "Traceback" not in result.stderr


def test_the_lines_for_sigterm_end_the_execution() -> None:
    """A SIGTERM handler that raises SystemExit leaves the block, which ends and delivers the execution."""
    result = python("""
        def stop(signum, frame):
            raise SystemExit(0)

        signal.signal(signal.SIGTERM, stop)
        delivery = Delivery(show)
        with StatusBuilder("a", sinks=[delivery], ends=lambda error: ExecutionPhase.CANCELLED):
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait()
    """)
    assert lines(result)[-1] == "a CANCELLED cancelled"


def test_the_lines_for_sigterm_in_asyncio_end_the_execution() -> None:
    """Cancelling the main task from a signal handler ends the execution CANCELLED, delivered before the loop ends."""
    result = python("""
        import asyncio

        async def main():
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
            async with StatusBuilder("a", sinks=[Delivery(show)]):
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.Event().wait()

        try:
            asyncio.run(main())
        except asyncio.CancelledError:
            pass
    """)
    assert lines(result)[-1] == "a CANCELLED cancelled"


FORKS = [
    ("before", "", "a COMPLETED"),
    ("after", "builder.update_status(ExecutionPhase.IN_PROGRESS); builder.flush()", "a COMPLETED"),
    ("while sending", "builder.update_status(ExecutionPhase.IN_PROGRESS)", "a COMPLETED"),
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("child", ["uses", "leaves"])
@pytest.mark.parametrize(("when", "first", "last"), FORKS, ids=[when for when, *_ in FORKS])
def test_after_a_fork_the_parent_delivers_and_the_child_may_start_anew(
    when: str, first: str, last: str, child: str
) -> None:
    """The child's inherited builder changes memory only; a new one on the inherited sink is delivered."""
    result = python(f"""
        delivery = Delivery(slow)
        builder = StatusBuilder("a", sinks=[delivery])
        {first}
        pid = os.fork()
        if pid == 0:
            builder.update_status(ExecutionPhase.FAILED)
            assert builder.snapshot().phase is ExecutionPhase.FAILED
            if {child == "uses"}:
                with StatusBuilder("child", sinks=[delivery]):
                    pass
            sys.exit(0)
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        builder.update_status(ExecutionPhase.COMPLETED)
        builder.close()
    """)
    seen = lines(result)
    assert [line for line in seen if line.startswith("a ")][-1] == last
    assert "a FAILED" not in seen
    assert ("child COMPLETED" in seen) is (child == "uses")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_while_another_thread_changes_the_builder_leaves_a_usable_child() -> None:
    """A lock that some thread held at the fork does not keep the child's copy locked."""
    result = python("""
        builder = StatusBuilder("a", sinks=[Delivery(lambda snapshot: None)])
        stop = False

        def change():
            number = 0
            while not stop:
                number += 1
                builder.add_task(f"t{number}")
                builder.snapshot()

        thread = threading.Thread(target=change)
        thread.start()
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                builder.add_task("child")
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        stop = True
        thread.join()
        builder.close()
        print("done")
    """)
    assert lines(result) == ["done"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_multiprocessing_children_report_through_an_inherited_sink() -> None:
    """A forked worker process of multiprocessing delivers its own executions, also at its own exit."""
    result = python("""
        import multiprocessing

        delivery = Delivery(show)

        def work(name):
            with StatusBuilder(name, sinks=[delivery]):
                pass

        if __name__ == "__main__":
            context = multiprocessing.get_context("fork")
            work("parent")
            children = [context.Process(target=work, args=(f"child{number}",)) for number in range(3)]
            for process in children:
                process.start()
            for process in children:
                process.join()
                assert process.exitcode == 0
    """)
    completed = sorted(line for line in lines(result) if line.endswith("COMPLETED"))
    assert completed == ["child0 COMPLETED", "child1 COMPLETED", "child2 COMPLETED", "parent COMPLETED"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_multiprocessing_children_deliver_what_is_outstanding_at_their_exit() -> None:
    """A child that multiprocessing ends without the interpreter's exit delivers what nobody waited for."""
    result = python("""
        import multiprocessing

        delivery = Delivery(slow)

        def work(name):
            builder = StatusBuilder(name, sinks=[delivery])
            builder.update_status(ExecutionPhase.COMPLETED)
            builder.close(0.0)

        if __name__ == "__main__":
            process = multiprocessing.get_context("fork").Process(target=work, args=("child",))
            process.start()
            process.join()
    """)
    assert lines(result) == ["child COMPLETED"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_children_of_a_fork_without_hooks_report_through_an_inherited_sink() -> None:
    """Where a fork runs no hook of Python's, as in uWSGI, a child begins anew all the same, and nothing of it waits."""
    result = python("""
        import ctypes

        delivery = Delivery(slow)
        inherited = StatusBuilder("inherited", sinks=[delivery])
        inherited.update_status(ExecutionPhase.IN_PROGRESS)
        assert inherited.flush(30)
        time.sleep(0.3)  # until all threads have gone to sleep: one that wants the GIL now would keep it in the child
        for number in range(3):
            if not ctypes.PyDLL(None).fork():
                with StatusBuilder(f"child{number}", sinks=[delivery]):
                    pass
                inherited.update_status(ExecutionPhase.COMPLETED)
                begun = time.monotonic()
                inherited.close(30)
                assert time.monotonic() - begun < 10, "it waited for what only the parent has"
                assert delivery.close()
                # The beginning may have been overtaken by the end.
                assert delivery.stats().sent in (1, 2), delivery.stats()
                assert (delivery.stats().lost, delivery.stats().pending) == (0, 0), delivery.stats()
                os._exit(0)
            assert os.wait()[1] == 0
        inherited.update_status(ExecutionPhase.COMPLETED)
        inherited.close()
    """)
    seen = lines(result)
    assert {line for line in seen if line.startswith("child")} >= {f"child{number} COMPLETED" for number in range(3)}
    assert [line for line in seen if line.startswith("inherited")][-1] == "inherited COMPLETED"


@pytest.mark.parametrize("made", ["before", "after"])
def test_gevent_that_is_patched_in_late_is_named_and_not_waited_for(made: str) -> None:
    """Threads of a process that gevent patches after our import would stop it: nothing is delivered, and it is said."""
    pytest.importorskip("gevent")
    result = python(f"""
        import faulthandler
        faulthandler.dump_traceback_later(20, exit=True)
        from gevent import monkey
        if {made == "after"}:
            monkey.patch_all()
        delivery = Delivery(show)
        if {made == "before"}:
            monkey.patch_all()
        import gevent
        with StatusBuilder("a", sinks=[delivery]) as status:
            status.add_task("t", status=TaskStatus.COMPLETED)
            assert not status.flush(30)
        receipt, = status.close()
        print(receipt.outcome.value, "gevent" in receipt.reason)
        delivery.close()
        gevent.sleep(0.01)
    """)
    assert lines(result) == ["lost True"]
    assert "gevent.monkey.patch_all() before" in result.stderr


def test_gevent_that_is_patched_in_early_is_fine() -> None:
    """In a process that gevent has patched before our import, everything is delivered."""
    pytest.importorskip("gevent")
    code = """
from gevent import monkey
monkey.patch_all()
from statusbuilder import Delivery, StatusBuilder
seen = []
with StatusBuilder("a", sinks=[Delivery(seen.append)]) as status:
    status.add_task("t")
print(status.close()[0].outcome.value, seen[-1].phase.name)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert lines(result) == ["delivered COMPLETED"]


def test_a_dropped_delivery_goes_although_it_told_of_receipts() -> None:
    """The thread that calls `on_receipt` keeps no receipt, which has the sink."""
    result = python("""
        import gc, weakref
        heard = threading.Event()
        delivery = Delivery(lambda snapshot: None, on_receipt=lambda receipt: heard.set())
        with StatusBuilder("a", sinks=[delivery]) as status:
            status.add_task("t")
        assert heard.wait(10)
        dropped = weakref.ref(delivery)
        del delivery, status
        while dropped() is not None:
            gc.collect()
            time.sleep(0.01)
        print("gone")
    """)
    assert lines(result) == ["gone"]


def test_what_was_lost_is_said_where_logging_was_switched_off() -> None:
    """An application's `dictConfig` switches existing loggers off; what is lost is said all the same."""
    result = python("""
        switch_logging_off()
        delivery = Delivery(lambda snapshot: threading.Event().wait())
        builder = StatusBuilder("wex_7", sinks=[delivery])
        builder.update_status(ExecutionPhase.COMPLETED)
        builder.close(0.0)
        delivery.close(0.1)
    """)
    (line,) = lines(result)
    assert "not delivered" in line
    assert "wex_7" in line


def test_what_is_refused_for_good_is_said_where_logging_was_switched_off() -> None:
    """What is lost by a refusal is said at once, also where an earlier state was refused for the same reason."""
    result = python("""
        from statusbuilder.sinks.grpc import GrpcSink
        from statusbuilder.testing import Fault, FaultyBackend
        switch_logging_off()
        with FaultyBackend() as backend, GrpcSink(backend.target) as sink:
            backend.always(Fault.error("INVALID_ARGUMENT"))
            builder = StatusBuilder("wex_7", sinks=[sink])
            builder.add_task("t")
            builder.flush()
            builder.update_status(ExecutionPhase.COMPLETED)
            builder.close()
    """)
    (line,) = lines(result)
    assert "'wex_7' was refused for good" in line


def test_disabled_by_the_environment_nothing_is_delivered() -> None:
    """With STATUSBUILDER_DISABLED=1 builders work, and no sink hears of them, nor of what comes without a builder."""
    result = python(
        """
        with StatusBuilder("a", sinks=[Delivery(show), show]) as builder:
            builder.add_task("t")
        print(builder.close(), builder.flush())
        Delivery(show).send(builder.snapshot())
        """,
        STATUSBUILDER_DISABLED="1",
    )
    assert lines(result) == ["() True"]
