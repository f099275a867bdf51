"""The commands `watch` and `list`, as users run them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port
from server_calls import TIMEOUT, Product, resource, serving
from terminal_kit import terminal
from view_values import agent, orders

from statusbuilder import ExecutionPhase, Snapshot, StatusBuilder, TaskStatus
from statusbuilder.cli import main
from statusbuilder.commands import _connect
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink

COMMAND = (sys.executable, "-m", "statusbuilder")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Serve one execution that failed, one that completed, one that goes on, and an agent's."""
    with Server() as started, GrpcSink(started.target) as sink:
        with StatusBuilder("wex_good", sinks=[sink]) as status, status.task("a", "Only task"):
            pass
        sink.send(Snapshot("wex_open", revision=1, phase=ExecutionPhase.IN_PROGRESS))
        sink.send(orders())
        sink.send(agent())
        assert sink.flush()
        yield started


@pytest.fixture
def target(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the commands find the server through the environment."""
    monkeypatch.setenv("STATUSBUILDER_ENDPOINT", server.target)
    return server.target


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize(("execution_id", "status"), [("wex_good", 0), ("wex_orders", 1)])
def test_watch_says_how_it_ended(execution_id: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """The last line names the phase, and the exit status is 0 only for COMPLETED."""
    assert main(["watch", execution_id]) == status
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"Waiting for {execution_id} at 127.0.0.1:")
    assert f" {execution_id} {'FAILED' if status else 'COMPLETED'} " in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--target", "http://host"],
            "statusbuilder watch: The target 'http://host' is a URL, and gRPC takes none: "
            "write 'host:80' with --no-tls.\n",
        ),
        (
            ["--target", "10.1.2.3:1", "--no-tls", "--api-key", "k"],
            "statusbuilder watch: An API key would go to '10.1.2.3:1' over an unencrypted channel. Use TLS (--tls), "
            "or, where the network itself is trusted, STATUSBUILDER_ALLOW_INSECURE_KEY=1.\n",
        ),
        (["--target", "127.0.0.1:1", "--patience", "0"], "statusbuilder watch: nothing listens on 127.0.0.1:1\n"),
        (["--ca", "/nowhere.pem"], "statusbuilder watch: /nowhere.pem: No such file or directory\n"),
        (["--ca", "/nowhere.pem", "--no-tls"], "statusbuilder watch: --ca and --no-tls exclude each other."),
    ],
)
def test_watch_that_cannot_connect_is_one_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with the call, or with the connection, is a line on stderr, and exit status 2."""
    assert main(["watch", "wex_1", *arguments]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(text)
    assert errors.count("\n") == 1


def test_watch_with_a_wrong_key_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """UNAUTHENTICATED is no outage: it is said at once, with the server's words."""
    with Server(api_key="right") as server:
        assert main(["watch", "wex_1", "--target", server.target, "--api-key", "wrong"]) == 2
    errors = capsys.readouterr().err
    assert errors == "statusbuilder watch: UNAUTHENTICATED: The API key is not the one of this server.\n"


def test_watch_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    """In a terminal the outage is told, and the view goes on when the server is back after SIGKILL."""
    path = tmp_path / "executions.db"
    with serving("--db", path, "--port", 0) as first:
        with GrpcSink(first.target) as sink:
            sink.send(orders(ended=False))
            assert sink.flush()
        with terminal(*COMMAND, "watch", "wex_orders", "--target", first.target) as view:
            view.wait(lambda text: "7 of 12 mails" in text)
            first.process.kill()
            view.wait(lambda text: f"No connection to {first.target}, trying again (nothing listens there)" in text)
            with serving("--db", path, "--port", first.target.rpartition(":")[2]), GrpcSink(first.target) as sink:
                sink.send(orders())
                assert view.end() == 1
            view.assert_in_order()
            assert re.match(r"wex_orders  FAILED  5.00 s\n", view.text)
            assert "No connection" not in view.text


def test_ctrl_c_ends_watch_but_not_the_execution(server: Server) -> None:
    """After Ctrl-C the last known state stays on the screen, the terminal is in order, and the exit status is 130."""
    with terminal(*COMMAND, "watch", "wex_open", "--target", server.target) as view:
        view.wait(lambda text: "wex_open" in text and "IN_PROGRESS" in text)
        view.type(b"\x03")
        assert view.end() == 130
        view.assert_in_order()
        assert "wex_open  IN_PROGRESS" in view.text
        assert "Traceback" not in view.text


@pytest.mark.parametrize("flags", [[], ["--agent"]], ids=["found", "asked for"])
def test_watch_an_agent(server: Server, flags: list[str]) -> None:
    """Of an agent's execution text and tool calls are shown; which kind an execution is need not be said."""
    with terminal(*COMMAND, "watch", "aex_build", *flags, "--target", server.target) as view:
        text = view.wait(lambda text: "The failure comes from" in text and "run_tests" in text)
        view.type(b"\x03")
        view.end()
    assert "human: Why is the build red?" in text
    assert "✓ read_file" in text


def test_watch_whose_reader_went_away_is_quiet(server: Server) -> None:
    """`watch … | head -1` ends without a complaint."""
    with (
        GrpcSink(server.target, min_interval=0) as sink,
        StatusBuilder("wex_piped", sinks=[sink]) as status,
        subprocess.Popen(
            [*COMMAND, "watch", "wex_piped", "--target", server.target],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as watching,
    ):  # fmt: skip
        assert watching.stdout is not None
        assert watching.stdout.readline()
        watching.stdout.close()
        status.add_task("a", "A", TaskStatus.IN_PROGRESS)
        status.update_task_status("a", TaskStatus.COMPLETED)
        status.update_status(ExecutionPhase.COMPLETED)
        assert watching.wait(TIMEOUT) == 1
        assert watching.stderr is not None
        assert watching.stderr.read() == b""


@pytest.mark.usefixtures("target")
def test_list_shows_the_newest_first(capsys: pytest.CaptureFixture[str]) -> None:
    """Each execution is a line with its phase, tasks and error."""
    assert main(["list", "--limit", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["EXECUTION", "PHASE", "TASKS", "STARTED", "TOOK"]
    assert lines[1].startswith("wex_") or len(lines) == 4
    assert main(["list", "--phase", "failed"]) == 0
    (line,) = capsys.readouterr().out.splitlines()[1:]
    assert line.split(maxsplit=6) == [
        "wex_orders", "FAILED", "5/5", "2026-01-16T09:30:00.000Z", "5.00", "s", "TimeoutError: no answer",
    ]  # fmt: skip


@pytest.mark.usefixtures("target")
def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json each line is a snapshot that can be read again."""
    assert main(["list", "--json", "--agent"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["execution_id"] == "aex_build"
    assert [message["type"] for message in json.loads(line)["messages"]][:2] == ["HUMAN", "AI"]


def test_what_is_not_there_yet_may_be_an_agents(server: Server) -> None:
    """Of an unknown execution nobody knows its kind, so the line that says it is waited for names --agent."""
    for flags, hint in ((), "; for an agent's execution, add --agent"), (("--agent",), ""):
        command = [*COMMAND, "watch", "wex_none", *flags, "--target", server.target]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline() == f"Waiting for wex_none at {server.target}{hint}\n"
            watching.kill()


def test_an_id_that_a_backend_refuses_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is waited for, so that only one line says why, and what waits; the exit status is 2."""
    with Product({}) as product:
        assert main(["watch", "wex_none", "--target", product.target]) == 2
    shown = capsys.readouterr()
    told = f"{product.target} has no execution 'wex_none'; --wait waits until it is there."
    assert (shown.out, shown.err) == ("", f"statusbuilder watch: {told}\n")


def test_wait_waits_where_unknown_ids_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --wait the execution is asked for until it is there, then shown as ever."""
    monkeypatch.setattr("statusbuilder.commands.watch._LOOK_EVERY", 0.01)
    ended = resource(orders())

    class Late(dict[str, bytes]):
        looks = 0

        def __contains__(self, key: object) -> bool:
            self.looks += 1
            return self.looks > 6

    with Product(Late(wex_orders=ended), ended) as product:
        assert main(["watch", "wex_orders", "--wait", "--target", product.target]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"Waiting for wex_orders at {product.target}"
    assert sum(line.startswith("Waiting") for line in lines) == 1
    assert " wex_orders FAILED after " in lines[-1]


def test_wait_finds_an_agents_execution() -> None:
    """With --wait nobody needs to say of which kind an execution will be."""
    with Server() as server:
        command = [*COMMAND, "watch", "aex_build", "--wait", "--target", server.target]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            assert watching.stdout.readline() == f"Waiting for aex_build at {server.target}\n"
            with GrpcSink(server.target) as sink:
                sink.send(agent())
                assert sink.flush()
            assert "aex_build IN_PROGRESS" in watching.stdout.readline()
            watching.kill()


def test_wait_finds_an_agents_execution_behind_a_backend_that_comes_later() -> None:
    """While the backend is away the kind of the execution is not known either, so nothing is subscribed to yet."""
    port = free_port()
    command = [*COMMAND, "watch", "aex_build", "--wait", "--plain", "--target", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching, contextlib.ExitStack() as stack:
        stack.callback(watching.kill)
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith(f"No connection to 127.0.0.1:{port}, trying again")
        server = stack.enter_context(Server(port=port))
        sink = stack.enter_context(GrpcSink(server.target))
        sink.send(agent())
        assert sink.flush()
        lines = iter(watching.stdout.readline, "")
        assert "aex_build IN_PROGRESS" in next(
            line for line in lines if not line.startswith(("No connection", "Waiting"))
        )
    command += ["--patience", "0"]
    assert subprocess.run(command, capture_output=True, timeout=TIMEOUT).returncode == 2


def test_list_cuts_what_is_wider_than_the_terminal(server: Server) -> None:
    """An execution is one line of a terminal, however long its error is; what is cut is marked, at the right end."""
    command = (*COMMAND, "list", "--phase", "failed", "--target", server.target)
    with terminal(*command, columns=70) as view:
        assert view.end() == 0
    heading, line = view.text.splitlines()
    assert heading.startswith("EXECUTION")
    assert re.match(r"wex_orders +FAILED +5/5 .*5.00 s +Time.*…$", line)
    assert len(line) == 70


@pytest.mark.parametrize("number", ["x", "-1", "nan", "inf"])
def test_patience_is_a_number_of_seconds(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused, in words, with exit status 2."""
    with pytest.raises(SystemExit) as caught:
        main(["watch", "wex_1", f"--patience={number}"])
    assert caught.value.code == 2
    assert f"'{number}' is not a number of seconds from 0 on" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["x", "0", "1.5"])
def test_limit_is_a_number_from_1_on(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused, in words, with exit status 2."""
    with pytest.raises(SystemExit) as caught:
        main(["list", f"--limit={number}"])
    assert caught.value.code == 2
    assert f"'{number}' is not a whole number from 1 on" in capsys.readouterr().err


def test_an_empty_list_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A line on stderr says that the backend lists none, which may have some, and names --agent; JSON has no line."""
    with Server() as server:
        assert main(["list", "--json", "--target", server.target]) == 0
        shown = capsys.readouterr()
        assert shown.out == ""
        rest = "`watch ID` finds one that a backend does not list.\n"
        assert shown.err == f"{server.target} lists no workflow executions; --agent lists those of agents. {rest}"
        assert main(["list", "--agent", "--phase", "failed", "--target", server.target]) == 0
        assert capsys.readouterr().err == f"{server.target} lists no agent executions that are FAILED. {rest}"


def test_list_without_a_server_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing to connect to is a line on stderr, and exit status 2."""
    assert main(["list", "--target", "127.0.0.1:1"]) == 2
    assert capsys.readouterr().err == "statusbuilder list: nothing listens on 127.0.0.1:1\n"


def test_a_server_without_tls_is_told_in_the_command_lines_words(server: Server) -> None:
    """What is wrong with TLS is one line, without gRPC's own, and the remedy is an option."""
    command = [*COMMAND, "list", "--tls", "--target", server.target]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"statusbuilder list: {server.target} does not speak TLS on this port (--no-tls")


def test_where_no_backend_was_named_serve_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a target, and with nothing at the default one, the line says how to get a backend there."""
    monkeypatch.delenv("STATUSBUILDER_ENDPOINT", raising=False)
    monkeypatch.delenv("STIGMER_BACKEND_ENDPOINT", raising=False)
    monkeypatch.setattr(_connect, "DEFAULT_TARGET", "127.0.0.1:1")
    assert main(["list"]) == 2
    hint = "`statusbuilder serve` starts a backend there, --target names another"
    assert capsys.readouterr().err == f"statusbuilder list: nothing listens on 127.0.0.1:1; {hint}\n"


def test_list_whose_reader_went_away_is_quiet(server: Server) -> None:
    """`list | true` ends without a complaint."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        command = [*COMMAND, "list", "--target", server.target]
        ended = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (1, b"")
