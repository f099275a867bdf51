"""A builder in a forked child: it changes memory only, and nothing that the parent held can hang it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

HEAD = """
import faulthandler, os, sys, threading
import statusbuilder
from statusbuilder import Delivery, ExecutionPhase, StatusBuilder, TaskStatus

faulthandler.dump_traceback_later(30, exit=True)

def in_child(work):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status

read, write = os.pipe()

def sink(snapshot):
    os.write(write, f"{os.getpid() == parent}:{snapshot.revision} ".encode())

parent = os.getpid()
"""


def run(program: str) -> str:
    """Run a program that forks; return what it prints."""
    source = HEAD + textwrap.dedent(program)
    # From 3.12 on Python warns of every fork of a process with threads, which is what is tested here.
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", source]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout


def test_an_inherited_builder_changes_memory_only() -> None:
    """In the child every call works, in memory; flush and close have nothing to wait for; the parent goes on."""
    printed = run("""
        delivery = Delivery(sink, min_interval=0.0)
        status = StatusBuilder("wex_01", sinks=[sink, delivery])
        status.add_task("a", status=TaskStatus.IN_PROGRESS)
        assert status.flush()

        def child():
            status.update_task_status("a", TaskStatus.COMPLETED)
            with status.task("b"):
                pass
            assert status.flush()
            status.update_status(ExecutionPhase.COMPLETED)
            assert status.close() == ()
            assert status.snapshot().revision == 5

        in_child(child)
        assert status.snapshot().revision == 1
        status.update_status(ExecutionPhase.FAILED)
        assert [receipt.outcome for receipt in status.close()] == ["delivered", "delivered"]
        delivery.close()
        print(os.read(read, 1000).decode())
    """)
    assert printed.split() == ["True:1", "True:1", "True:2", "True:2"]


@pytest.mark.parametrize("fork", ["os.fork", "ctypes.PyDLL(None).fork"])
@pytest.mark.parametrize("sinks", ["[]", "[sink]", "[Delivery(sink)]"])
def test_a_lock_that_another_thread_held_hangs_no_child(fork: str, sinks: str) -> None:
    """When another thread was in the middle of a change at the fork, the child's builder is usable all the same.

    Also where C code forks, so that no hook of Python runs.
    """
    run(f"""
        import ctypes, signal
        fork = {fork}
        status = StatusBuilder("wex_01", sinks={sinks})
        status.add_task("first")
        assert status.flush()
        held, go_on = threading.Event(), threading.Event()

        def stop_inside(frame, event, argument):
            if frame.f_code.co_name == "add" and frame.f_code.co_filename.endswith("state.py"):
                held.set()
                go_on.wait()

        def change():
            sys.settrace(stop_inside)
            status.add_task("second")

        thread = threading.Thread(target=change)
        thread.start()
        held.wait()
        pid = fork()
        if pid == 0:
            signal.alarm(20)
            status.add_task("a")
            with status.task("b") as task:
                task.output = 1
            threads = [threading.Thread(target=status.add_task, args=(f"c{{number}}",)) for number in range(4)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            status.update_status("COMPLETED")
            assert status.flush() and status.close() == (), status
            assert len(status.snapshot().tasks) == 7, status
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        go_on.set()
        thread.join()
        assert [task.task_id for task in status.snapshot().tasks] == ["first", "second"]
        assert status.flush()
        status.close()
    """)


def test_a_child_that_c_code_made_tells_no_sink() -> None:
    """Where no hook of Python ran the child changes memory only, too, and the parent goes on."""
    printed = run("""
        import ctypes
        status = StatusBuilder("wex_01", sinks=[sink])
        status.add_task("a")
        pid = ctypes.PyDLL(None).fork()
        if pid == 0:
            status.add_task("b")
            status.close()
            os._exit(0 if status.snapshot().revision == 2 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        status.add_task("b")
        status.close()
        print(os.read(read, 1000).decode())
    """)
    assert printed.split() == ["True:1", "True:2"]


def test_a_fork_while_a_sink_runs_hangs_no_child() -> None:
    """When another thread was in the middle of a sink at the fork, the child calls no sink and does not wait."""
    run("""
        inside, go_on = threading.Event(), threading.Event()

        def blocking(snapshot):
            inside.set()
            go_on.wait()

        status = StatusBuilder("wex_01", sinks=[blocking])
        thread = threading.Thread(target=status.add_task, args=("a",))
        thread.start()
        inside.wait()

        def child():
            status.add_task("b")
            assert status.flush()

        in_child(child)
        go_on.set()
        thread.join()
        assert status.flush()
    """)


def test_a_child_that_leaves_the_parents_block_sends_nothing() -> None:
    """A child that runs out of the parent's with block ends the execution in its own memory only."""
    printed = run("""
        delivery = Delivery(sink, min_interval=0.0)
        with StatusBuilder("wex_01", sinks=[delivery]) as status:
            assert status.flush()
            pid = os.fork()
        if pid == 0:
            assert status.snapshot().phase is ExecutionPhase.COMPLETED
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        delivery.close()
        print(os.read(read, 1000).decode())
    """)
    assert printed.split() == ["True:1", "True:2"]


def test_a_child_may_make_builders_of_its_own() -> None:
    """A new builder in the child delivers, also through the inherited Delivery."""
    printed = run("""
        delivery = Delivery(sink, min_interval=0.0)
        parents = StatusBuilder("wex_01", sinks=[delivery])
        parents.add_task("a")
        assert parents.flush()

        def child():
            status = StatusBuilder("wex_02", sinks=[delivery])
            status.add_task("a")
            status.add_task("b")
            assert status.close()[0].outcome == "delivered"

        in_child(child)
        parents.add_task("b")
        parents.close()
        delivery.close()
        print(os.read(read, 1000).decode())
    """)
    assert printed.split()[0] == "True:1"
    assert printed.split()[-1] == "True:2"
    assert "False:2" in printed.split()


def test_a_child_drops_an_inherited_builder_in_silence() -> None:
    """An inherited builder that is collected in the child gives no warning: it owes nobody anything."""
    run("""
        import gc, warnings
        delivery = Delivery(sink)
        status = StatusBuilder("wex_01", sinks=[delivery])
        status.add_task("a")

        def child():
            global status
            warnings.simplefilter("error")
            del status
            gc.collect()

        in_child(child)
        status.close()
        delivery.close()
    """)
