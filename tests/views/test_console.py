"""What a terminal shows: lines that fit, a region that is painted in place, and a terminal left in order."""

from __future__ import annotations

import io
import re
import signal
import sys
import textwrap
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory import living
from rich.cells import cell_len
from rich.console import Console
from terminal_kit import python
from view_values import LONG_ERROR, START, agent, carrying, many, orders

from statusbuilder import ExecutionPhase, Snapshot, StatusBuilder, Task, TaskStatus
from statusbuilder.sinks.console import ConsoleSink
from statusbuilder.views import PlainScreen, make_screen
from statusbuilder.views._live import LiveScreen
from statusbuilder.views._plain import PlainLines
from statusbuilder.views._rows import Look, rows
from statusbuilder.views._tree import as_tree, choose
from statusbuilder.views.texts import one_line, seconds

NOW = START + timedelta(seconds=7)


def console(width: int = 80, height: int = 24, encoding: str = "utf-8") -> tuple[Console, io.BytesIO]:
    """Return a terminal of a size, and what is written to it."""
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding=encoding, write_through=True)
    opened = Console(
        file=file, width=width, height=height, force_terminal=True, color_system="standard", legacy_windows=False
    )
    return opened, written


def shown(snapshot: Snapshot, width: int = 80, room: int = 20) -> list[str]:
    return [line.plain for line in rows(snapshot, Look(console(width)[0]), NOW, room)]


def test_everything_about_a_task_is_on_its_line() -> None:
    """Sign, name, duration, and what there is to say: the error, the message, the retries."""
    lines = shown(orders(ended=False), width=100)
    assert re.fullmatch(r". wex_orders  IN_PROGRESS  7.00 s", lines[0])
    assert lines[1].endswith(" 3/5  1 running, 1 failed, 1 completed, 1 skipped, 1 pending")
    assert [" ".join(line.split()[1:]) for line in lines[2:]] == [
        "Fetch the orders 2.00 s retry 1",
        "Check the stock 2.00 s TimeoutError: no answer from the warehouse",
        "Send the mails 3.00 s 7 of 12 mails",
        "Tidy up",
        "Tell the CEO skipped only on Fridays",
    ]
    assert [line.split()[0] for line in (*lines[2:4], *lines[5:])] == ["✓", "✗", "·", "»"]


def test_the_end_and_its_error_are_shown() -> None:
    """An execution that failed says so, with its duration and its error, and its sign no longer turns."""
    assert shown(orders())[0] == "wex_orders  FAILED  5.00 s"
    assert shown(orders())[2] == "  TimeoutError: no answer"


@pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 200])
@pytest.mark.parametrize("snapshot", [orders(), agent(), many(300)], ids=["orders", "agent", "many"])
def test_no_line_is_wider_than_the_terminal(snapshot: Snapshot, width: int) -> None:
    """Every line fits, also where names are wide characters."""
    wide = Task("w", "日本語の長い名前" * 10, status=TaskStatus.IN_PROGRESS, started_at=START)
    lines = shown(attrs.evolve(snapshot, tasks=(wide, *snapshot.tasks)), width)
    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize("room", [4, 10, 23, 60])
def test_ten_thousand_tasks_fit_the_room(room: int) -> None:
    """The lines are as many as there is room for, with what failed and what runs, and the rest counted."""
    lines = shown(many(), room=room)
    assert len(lines) == room
    assert "/10,000" in lines[1]
    assert any("✗ Shard" in line for line in lines) or room == 4
    assert re.search(r"… and .*9,8\d\d completed", lines[-1]) or room == 4


@given(st.lists(st.sampled_from(TaskStatus), max_size=60), st.integers(0, 70))
def test_a_choice_adds_up(statuses: list[TaskStatus], room: int) -> None:
    """What is shown keeps its order and fits with the line about the rest; shown and counted are all there is."""
    tasks = [Task(f"t{place}", f"t{place}", status=status) for place, status in enumerate(statuses)]
    choice = choose(tasks, room)
    assert len(choice.shown) + bool(choice.hidden) <= max(room, 1)
    assert [task for task in tasks if task in choice.shown] == list(choice.shown)
    counted = Counter(task.status for task in choice.shown) + Counter(dict(choice.hidden))
    assert counted == Counter(statuses)


def test_an_agent_shows_plan_text_and_tool_calls() -> None:
    """Todos, the end of the conversation, and tool calls with what they were given and gave."""
    lines = shown(agent(), width=100, room=20)
    text = "\n".join(lines)
    assert "[x] Read the log" in text
    assert "[ ] Fix it" in text
    assert "human: Why is the build red?" in text
    assert "ai: The failure comes from a changed default," in text
    assert re.search(r"✓ read_file +2.00 s +path=build.log → 3 failed, 120 passed", text)
    assert re.search(r"\S run_tests +5.00 s +pattern=test_api", text)


def test_what_is_known_beside_a_status_is_on_the_tasks_line() -> None:
    """Children stand below their parents; attempts, progress, waits, workers and logs are shown."""
    lines = shown(carrying(), width=120)
    tasks = [line[4:] for line in lines[2:]]
    assert [task[:24].rstrip() for task in tasks[:5]] == [
        "Load the catalogue", "  Europe", "  America", "    Pages", "  Asia",
    ]  # fmt: skip
    assert tasks[2].endswith("retry 2, on w-2")
    assert tasks[3].endswith("40/100")
    assert "waiting for a worker of queue asia" in tasks[4]


def test_an_error_is_shown_as_far_as_there_is_room_and_in_full_at_the_end() -> None:
    """While it runs the error has the lines that are left, its cut marked; at the end it has all that it needs."""
    full = "".join(LONG_ERROR.split())
    opened = Look(console(60)[0])
    last = "".join(line.plain for line in rows(carrying(True), opened, NOW, 22, is_last=True))
    assert "".join(last.split()).count(full) == 2
    tight = [line.plain for line in rows(carrying(), opened, NOW, 12)]
    assert len(tight) == 12
    assert any("ValidationError: the price of row 0" in line for line in tight)
    assert any(line.endswith("…") for line in tight)


def test_at_the_end_what_failed_is_shown_however_small_the_terminal_is() -> None:
    """Each failed task is there with its error in full, also where lines are few; before, the cause comes first."""
    opened = Look(console(40, 15)[0])
    last = [line.plain for line in rows(carrying(True), opened, NOW, 13, is_last=True)]
    assert "".join("".join(last).split()).count("".join(LONG_ERROR.split())) == 2
    assert sum("✗" in line for line in last) == 6
    tasks = [
        Task(f"t{n}", f"t{n}", status=TaskStatus.FAILED, error="x", metadata={"cancelled": n > 0}) for n in range(9)
    ]
    assert "t0" in [task.task_id for task in choose(tasks, 4).shown]


def test_the_bar_keeps_its_width_and_shows_what_tasks_have_done() -> None:
    """The bar is as long whatever the numbers beside it say, and a task's own progress moves it."""

    def bar(fraction: float) -> tuple[int, int]:
        task = Task("t", "t", status=TaskStatus.IN_PROGRESS, metadata={"progress": {"done": fraction, "total": 1}})
        line = shown(Snapshot("e", phase=ExecutionPhase.IN_PROGRESS, tasks=(task,)))[1]
        return line.count("━"), line.count("━") + line.count("─")

    assert [bar(share / 4)[0] for share in range(5)] == [0, 6, 13, 19, 26]
    assert {bar(share / 4)[1] for share in range(5)} == {26}
    assert shown(many(), width=80)[1].count("━") + shown(many(), width=80)[1].count("─") == 26


def test_todos_that_do_not_fit_are_counted() -> None:
    """Of a plan with more todos than there is room for, the others are a number."""
    todos = tuple(attrs.evolve(agent().todos[1], todo_id=str(place)) for place in range(30))
    lines = shown(attrs.evolve(agent(), todos=todos), room=20)
    left = next(int(match[1]) for line in lines if (match := re.match(r"  and (\d+) more todos", line)))
    assert left + sum(line.startswith("  [ ]") for line in lines) == 30


@pytest.mark.parametrize(
    ("parents", "tree"),
    [
        ({"a": None, "b": None}, "a b"),
        ({"b": "a", "a": None}, "a .b"),
        ({"a": None, "c": "a", "d": "c", "b": "a"}, "a .c ..d .b"),
        ({"a": "gone", "b": "a"}, "a .b"),
        ({"a": "a", "b": "a"}, "a .b"),
        ({"a": "b", "b": "a", "c": "b"}, "a b .c"),
        ({"a": "b", "b": "c", "c": "b"}, "b .a c"),
    ],
)
def test_tasks_are_a_tree(parents: dict[str, str | None], tree: str) -> None:
    """A task is below its parent; without one, with one that is missing, or below itself it is at the top."""
    tasks = [Task(name, name, metadata={} if up is None else {"parent_id": up}) for name, up in parents.items()]
    assert " ".join("." * depth + task.task_id for depth, task in as_tree(tasks)) == tree


@given(st.lists(st.integers(-1, 12), max_size=12))
def test_every_task_is_once_in_the_tree(parents: list[int]) -> None:
    """Whatever tasks say of their parents, each is shown, once."""
    tasks = [Task(str(place), "t", metadata={"parent_id": str(up)}) for place, up in enumerate(parents)]
    assert sorted(int(task.task_id) for _, task in as_tree(tasks)) == list(range(len(parents)))


def test_a_long_answer_shows_its_end() -> None:
    """Of a text that goes on and on, the newest lines are there, wrapped."""
    snapshot = agent()
    message = attrs.evolve(snapshot.messages[-1], content=" ".join(f"word{place}" for place in range(20_000)))
    lines = shown(attrs.evolve(snapshot, messages=(message,)), width=50, room=20)
    assert len(lines) <= 20
    assert sum("word19" in line for line in lines) > 5
    assert any(line.endswith("word19999") for line in lines)


def test_colours_are_the_terminals_own() -> None:
    """Only default, bold, dim, red, green and magenta are used, never a background: readable on light and dark."""
    opened, written = console()
    for snapshot in (orders(), agent(), many(300)):
        for line in rows(snapshot, Look(opened), NOW, 30):
            opened.print(line)
    codes = {code for found in re.findall(rb"\x1b\[([\d;]*)m", written.getvalue()) for code in found.split(b";")}
    assert codes <= {b"0", b"1", b"2", b"31", b"32", b"35"}


def test_what_has_ended_is_not_kept_whole() -> None:
    """A terminal that shows executions for weeks remembers what it has printed, not the executions."""
    opened, _ = console()
    screen, before = LiveScreen(console=opened, clock=lambda: NOW), living("Snapshot")
    for number in range(20):
        assert screen.show(Snapshot(f"wex_{number}", phase=ExecutionPhase.COMPLETED))
    assert living("Snapshot") < before + 20
    screen.close()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_gets_what_it_can_write(encoding: str) -> None:
    """Signs are ASCII, and other characters are replaced, instead of failing."""
    opened, written = console(encoding=encoding)
    snapshot = Snapshot("wex_日本", tasks=(Task("a", "Größe 日本", status=TaskStatus.IN_PROGRESS),))
    screen = LiveScreen(console=opened, clock=lambda: NOW)
    assert screen.show(snapshot)
    screen.close()
    assert b"wex_??" in written.getvalue()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\tand  more", "two lines and more"),
        ("\x1b[2J\x1b]0;title\x07", "�[2J�]0;title�"),
        ("abc\u202edef\u2066", "abc�def�"),
        ("\ud800", "�"),
        ("x" * 5000, "x" * 2000 + "…"),
    ],
)
def test_texts_cannot_steer_the_terminal(text: str, line: str) -> None:
    """Control characters and marks of direction of a name or an error are replaced."""
    assert one_line(text) == line
    lines = PlainLines().lines(Snapshot("e", phase=ExecutionPhase.FAILED, error=text, completed_at=START))
    assert lines[0].endswith(line)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (-1, "0.00 s"), (0.004, "0.00 s"), (9.99, "9.99 s"), (9.996, "10.0 s"), (59.96, "1 min 00 s"),
        (3599, "59 min 59 s"), (3600, "1 h 00 min"), (90_000, "1 d 01 h"),
    ],
)  # fmt: skip
def test_durations_are_said_as_people_say_them(duration: float, text: str) -> None:
    """The longer, the coarser, and never negative."""
    assert seconds(duration) == text


# Plain lines


def test_plain_lines_say_each_thing_once() -> None:
    """A line for each change of phase and status, none for what was said before."""
    lines = PlainLines()
    first = lines.lines(orders(ended=False))
    assert first[0] == "2026-01-16T09:30:00.000Z wex_orders IN_PROGRESS"
    assert (
        "2026-01-16T09:30:04.000Z wex_orders: task Check the stock FAILED after 2.00 s: "
        "TimeoutError: no answer from the warehouse" in first
    )
    assert "2026-01-16T09:30:04.000Z wex_orders: task Tell the CEO SKIPPED: only on Fridays" in first
    assert not any("Tidy up" in line for line in first)
    assert lines.lines(orders(ended=False)) == []
    last = lines.lines(orders())
    assert last[-1] == (
        "2026-01-16T09:30:05.000Z wex_orders FAILED after 5.00 s (2 failed, 1 completed, 2 skipped): "
        "TimeoutError: no answer"
    )
    assert len(last) == 3
    assert lines.lines(orders()) == []


def test_plain_lines_of_thousands_of_tasks_are_counted() -> None:
    """At most 20 tasks have a line at a time, failed ones first; the others are counted in one line."""
    lines = PlainLines().lines(many())
    assert len(lines) == 22
    assert sum("disk full" in line for line in lines) == 10
    assert lines[-1].endswith(
        "wex_many: 9,930 more tasks changed; now 50 running, 10 failed, 9,890 completed, 50 pending"
    )


def test_plain_lines_say_a_message_when_it_is_whole() -> None:
    """The last message may still grow; it is said when another follows or the execution ends."""
    lines = PlainLines()
    said = [line for line in lines.lines(agent()) if " says: " in line]
    assert [line.partition(": ")[2] for line in said] == [
        "HUMAN says: Why is the build red?",
        "AI says: I look at the log first.",
    ]
    ended = attrs.evolve(agent(), phase=ExecutionPhase.COMPLETED, completed_at=START)
    assert [line.partition(": ")[2] for line in lines.lines(ended) if " says: " in line] == [
        "AI says: The failure comes from a changed default,"
    ]


def test_plain_lines_of_an_agent_are_in_the_order_of_their_times() -> None:
    """What was said before a tool call comes before it, also where both are news at the same time."""
    times = [line.partition(" ")[0] for line in PlainLines().lines(agent())]
    assert len(times) == 5
    assert times == sorted(times)


def test_remarks_are_said_once() -> None:
    """A remark that is repeated, as during an outage, is one line."""
    file = io.StringIO()
    screen = PlainScreen(file)
    for _ in range(3):
        screen.note("No connection")
    screen.show(orders())
    screen.note("No connection")
    assert file.getvalue().count("No connection\n") == 2


def test_plain_lines_say_what_is_known_beside_a_status() -> None:
    """The parent, the attempt, what a task waits for, how far it is and where it runs are on its line."""
    lines = PlainLines()
    said = [line.partition(": task ")[2] for line in lines.lines(carrying())]
    assert "Load the catalogue / America IN_PROGRESS: retry 2, on w-2" in said
    assert "America / Pages IN_PROGRESS: 40/100" in said
    waiting = [line.split(", ")[0] for line in said if "waiting" in line]
    assert waiting == [
        "Load the catalogue / Asia PENDING: waiting for a worker of queue asia",
        "Approve IN_PROGRESS: waiting for approval by finance",
    ]
    assert "Load the catalogue / Europe COMPLETED after 3.50 s: on w-1, https://logs.example.com/1" in said
    more = attrs.evolve(carrying().tasks[3], metadata={"parent_id": "load/us", "progress": {"done": 50, "total": 100}})
    assert lines.lines(attrs.evolve(carrying(), tasks=(more,))) == []
    waits = attrs.evolve(more, metadata={"waiting_for": "a lock"})
    assert len(lines.lines(attrs.evolve(carrying(), tasks=(waits,)))) == 1
    assert lines.lines(attrs.evolve(carrying(), tasks=(more,))) == []


def test_a_reader_that_went_away_is_told() -> None:
    """Where nobody reads any more, nothing is raised, and the caller learns it."""
    file = io.StringIO()
    screen = PlainScreen(file)
    assert screen.show(orders(ended=False))
    file.close()
    assert not screen.show(orders())


# The sink


def test_the_sink_writes_plain_lines_to_what_is_no_terminal() -> None:
    """Into a file go lines, and the last one says how the execution ended."""
    file = io.StringIO()
    with ConsoleSink(file) as sink:
        with StatusBuilder("wex_1", sinks=[sink]) as status, status.task("a", "First"):
            pass
        assert "ConsoleSink" in repr(sink)
    assert re.search(r"Z wex_1 COMPLETED after .* \(1 completed\)$", file.getvalue().strip())
    assert "\x1b" not in file.getvalue()


def test_a_closed_file_hurts_nobody() -> None:
    """A file that was closed under the sink neither raises nor counts as a failure."""
    file = io.StringIO()
    with ConsoleSink(file) as sink:
        file.close()
        with StatusBuilder("wex_1", sinks=[sink]):
            pass
        assert sink.stats().failed == 0


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """TERM=dumb is a terminal that cannot move its cursor."""
    monkeypatch.setenv("TERM", "dumb")
    file = io.StringIO()
    file.isatty = lambda: True  # type: ignore[method-assign]
    assert isinstance(make_screen(file), PlainScreen)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(make_screen(file), LiveScreen)


def test_more_executions_than_fit_are_counted() -> None:
    """Of many open executions the ones that changed last are shown, within the terminal's height."""
    opened, _ = console(width=60, height=12)
    screen = LiveScreen(console=opened, clock=lambda: NOW)
    for number in range(30):
        screen.show(attrs.evolve(orders(ended=False), execution_id=f"wex_{number}"))
    lines = [line.plain for line in screen._region(Look(opened), 11)]
    screen.close()
    assert len(lines) <= 11
    assert any("wex_29" in line for line in lines)
    assert lines[-1] == "and 28 more executions"


def test_executions_keep_their_places() -> None:
    """Several that run at the same time do not change places with each change of one of them."""
    opened, _ = console(width=60, height=40)
    screen = LiveScreen(console=opened, clock=lambda: NOW)
    for number in (0, 1, 2, 0, 1, 0):
        screen.show(attrs.evolve(orders(ended=False), execution_id=f"wex_{number}"))
    shown = re.findall(r"wex_\d", "\n".join(line.plain for line in screen._region(Look(opened), 39)))
    screen.close()
    assert shown == ["wex_0", "wex_1", "wex_2"]


SINK = """
    import sys, threading, time
    from statusbuilder import StatusBuilder, TaskStatus
    from statusbuilder.sinks.console import ConsoleSink

    sink = ConsoleSink()
"""


def script(body: str) -> str:
    return textwrap.dedent(SINK) + textwrap.dedent(body)


def test_a_terminal_shows_the_end_and_what_was_printed(tmp_path: Path) -> None:
    """When the execution has ended, its last state stays once, below what was printed meanwhile."""
    code = script("""
        with StatusBuilder("wex_1", sinks=[sink]) as status:
            while sys.stdout is sys.__stdout__:  # until the region is there: a print that it overtakes ends up in it
                time.sleep(0.001)
            for number in range(3):
                with status.task(f"t{number}", f"Step {number}"):
                    print(f"printed {number}")
        print("after")
    """)
    with python(code, tmp_path) as opened:
        assert opened.end() == 0
        lines = opened.text.splitlines()
        opened.assert_in_order()
    assert lines[:3] == ["printed 0", "printed 1", "printed 2"]
    assert re.match(r"wex_1  COMPLETED  \d", lines[3])
    assert [line.split()[:3] for line in lines[5:8]] == [["✓", "Step", str(number)] for number in range(3)]
    assert lines[8:] == ["after"]


class Opened(io.StringIO):
    """A terminal of this process."""

    def isatty(self) -> bool:
        return True


def test_what_is_printed_meanwhile_never_stands_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is printed while the region is painted stands on a line of its own, whichever is first."""
    monkeypatch.setenv("TERM", "xterm")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            opened = Opened()
            monkeypatch.setattr(sys, "stderr", opened)

            def say(opened: Opened = opened) -> None:
                while sys.stderr is opened:
                    pass
                print("said", file=sys.stderr)

            saying = threading.Thread(target=say, daemon=True)
            saying.start()
            screen = LiveScreen(opened)
            screen.show(orders(ended=False))
            saying.join()
            screen.close()
            written = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", opened.getvalue())
            assert re.search(r"[^\n\r]said", written) is None
            assert "said" in written
    finally:
        sys.setswitchinterval(before)


def test_logs_appear_above_the_region(tmp_path: Path) -> None:
    """Lines of a handler that was there before the sink stand above the region, whole, and go on after it."""
    code = "import logging\nlogging.basicConfig(format='%(levelname)s %(message)s')\n" + script("""
        with StatusBuilder("wex_1", sinks=[sink]) as status:
            while sys.stderr is sys.__stderr__:
                time.sleep(0.001)
            for number in range(3):
                with status.task(f"t{number}", f"Step {number}"):
                    logging.getLogger("app").warning("line %d", number)
        sink.close()
        logging.getLogger("app").warning("after")
        assert logging.root.handlers[0].stream is sys.__stderr__
    """)
    with python(code, tmp_path) as opened:
        assert opened.end() == 0
        lines = opened.text.splitlines()
        opened.assert_in_order()
    assert lines[:3] == ["WARNING line 0", "WARNING line 1", "WARNING line 2"]
    assert re.match(r"wex_1  COMPLETED  \d", lines[3])
    assert lines[8:] == ["WARNING after"]


RUNNING = """
    with StatusBuilder("wex_1", sinks=[sink]) as status:
        for number in range(40):
            status.add_task(f"t{number}", f"Step {number:02d} with a name that is rather long")
        status.update_task_status("t30", TaskStatus.IN_PROGRESS)
        threading.Event().wait()
"""


def test_ctrl_c_leaves_the_terminal_in_order(tmp_path: Path) -> None:
    """After Ctrl-C the screen says CANCELLED, and cursor and modes are as before."""
    with python(script(RUNNING), tmp_path) as opened:
        opened.wait(lambda text: "Step 30" in text)
        opened.type(b"\x03")
        assert opened.end() == -signal.SIGINT
        opened.assert_in_order()
        assert "KeyboardInterrupt" in opened.text
        assert b"wex_1" in opened.raw
        assert b"CANCELLED" in opened.raw


def test_kill_leaves_the_terminal_in_order(tmp_path: Path) -> None:
    """Even SIGKILL, after which nothing can be tidied, leaves a cursor and the terminal's modes."""
    with python(script(RUNNING), tmp_path) as opened:
        opened.wait(lambda text: "Step 30" in text)
        opened.process.kill()
        opened.end()
        assert not opened.screen.cursor.hidden
        assert b"\x1b[?1049h" not in opened.raw


def test_the_region_follows_the_windows_size(tmp_path: Path) -> None:
    """After a change of size there is one region, as wide and as high as the window allows."""
    with python(script(RUNNING), tmp_path) as opened:
        opened.wait(lambda text: "Step 30" in text)
        for columns, lines in ((40, 10), (100, 30), (30, 6)):
            opened.resize(columns, lines)
            opened.wait(lambda text, lines=lines: _is_region(text, lines))  # type: ignore[misc]
        opened.type(b"\x03")
        opened.end()


def _is_region(text: str, height: int) -> bool:
    lines = text.splitlines()
    if len(lines) != height - 1 or "wex_1" not in lines[0] or "pending" not in lines[-1]:
        return False
    return text.count("wex_1") == 1 and text.count("Step 30") == 1


def test_a_forked_child_has_a_terminal_of_its_own(tmp_path: Path) -> None:
    """In a forked child prints go to the terminal itself, and a new builder on the sink is shown."""
    code = script("""
        import os
        with StatusBuilder("wex_parent", sinks=[sink]) as status:
            with status.task("a", "Parent's"):
                status.flush()
                pid = os.fork()
                if pid == 0:
                    with StatusBuilder("wex_child", sinks=[sink]):
                        pass
                    sink.close()
                    os._exit(7)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    """)
    with python(code, tmp_path) as opened:
        assert opened.end() == 0
        opened.assert_in_order()
        assert b"wex_child" in opened.raw
        assert re.search(r"wex_parent  COMPLETED", opened.text)
