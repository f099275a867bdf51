"""The page for people in a real browser: live, by keyboard, on a phone, in the dark, and with texts that mean harm."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_kit import Browser, browser
from needs import missing
from server_calls import TIMEOUT
from view_values import agent, carrying, many, orders

from statusbuilder import AgentStatusBuilder, MessageType, Snapshot, StatusBuilder, Task, TaskStatus
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink

pytest.importorskip("uvicorn", reason="the extra web is not there")
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Run one browser for all tests."""
    with browser() as started:
        yield started


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(web=0) as server:
        yield server


@pytest.fixture
def sink(server: Server) -> Iterator[GrpcSink]:
    with GrpcSink(server.target) as sink:
        yield sink


def visit(chromium: Browser, server: Server, path: str = "", width: int = 1280, scheme: str = "light") -> None:
    chromium.visit(f"{server.web_url}{path}", width, scheme=scheme)
    until(chromium, lambda: text(chromium, "#state") in ("Live", "Ended"))


def until(chromium: Browser, condition: Callable[[], Any]) -> None:
    WebDriverWait(chromium.driver, TIMEOUT, 0.05).until(lambda _: condition())


def text(chromium: Browser, selector: str) -> str:
    return str(chromium.run(f"return document.querySelector({selector!r})?.innerText || ''"))


def show(sink: GrpcSink, *snapshots: Snapshot) -> None:
    for snapshot in snapshots:
        sink.send(snapshot)
    assert sink.flush(TIMEOUT)


def test_an_execution_is_live(chromium: Browser, server: Server, sink: GrpcSink) -> None:
    """What a runner changes is seen without a reload: tasks that come, run, are retried, and the end."""
    with StatusBuilder("wex_1", sinks=[sink]) as status:
        status.add_task("a", "First")
        assert status.flush(TIMEOUT)
        visit(chromium, server)
        until(chromium, lambda: "wex_1" in text(chromium, "#g-executions"))
        visit(chromium, server, "executions/workflow/wex_1")
        assert "pending" in text(chromium, "#t0")
        status.update_task_status("a", TaskStatus.IN_PROGRESS)
        until(chromium, lambda: "in progress" in text(chromium, "#t0"))
        before = text(chromium, "#t0 [data-since]")
        until(chromium, lambda: text(chromium, "#t0 [data-since]") != before)
        status.add_task("b", "Second", metadata={"parent_id": "a"})
        until(chromium, lambda: "Second" in text(chromium, "#t1"))
        status.update_task_status("a", TaskStatus.FAILED, "no answer")
        until(chromium, lambda: "no answer" in text(chromium, "#g-failures"))
        status.update_task_status("a", TaskStatus.IN_PROGRESS)
        until(chromium, lambda: "retried once" in text(chromium, "#t0") and not text(chromium, "#g-failures"))
        status.update_task_status("a", TaskStatus.COMPLETED)
    until(chromium, lambda: text(chromium, "#state") == "Ended" and "COMPLETED" in text(chromium, "#g-head"))
    assert chromium.run("return document.querySelectorAll('[data-since]').length") == 0


def test_an_agents_text_streams(chromium: Browser, server: Server, sink: GrpcSink) -> None:
    """An answer grows as its words come, and tool calls and todos appear beside it."""
    with AgentStatusBuilder("aex_1", sinks=[sink]) as status:
        status.add_message(MessageType.HUMAN, "Why is the build red?")
        assert status.flush(TIMEOUT)
        visit(chromium, server, "executions/agent/aex_1")
        for word in ("I ", "look ", "first."):
            status.append_text(word)
            until(chromium, lambda word=word: word.strip() in text(chromium, "#m1"))  # type: ignore[misc]
        status.set_todos([{"content": "Read the log", "status": "pending"}])
        status.start_tool_call("c1", "read_file", {"path": "build.log"})
        until(chromium, lambda: "read_file" in text(chromium, "#t0") and "Read the log" in text(chromium, "#plan"))
        assert text(chromium, "#m1 p") == "I look first."
        status.update_task_status("c1", TaskStatus.COMPLETED, output="3 failed")


def test_it_goes_on_when_the_backend_comes_back(chromium: Browser, tmp_path: Path) -> None:
    """While the server is away the page says so and keeps what it shows; then it is live again."""
    with Server(tmp_path / "db", web=0) as first, GrpcSink(first.target) as sink:
        port, web = first.port, int(str(first.web_url).rstrip("/").rpartition(":")[2])
        show(sink, carrying())
        visit(chromium, first, "executions/workflow/wex_catalogue")
    until(chromium, lambda: text(chromium, "#state").startswith("No connection"))
    assert "Load the catalogue" in text(chromium, "#g-tasks")
    with Server(tmp_path / "db", port=port, web=web) as second, GrpcSink(second.target) as sink:
        until(chromium, lambda: text(chromium, "#state") == "Live")
        show(sink, carrying(True))
        until(chromium, lambda: text(chromium, "#state") == "Ended")


def test_a_session_that_is_gone_leads_to_the_login(chromium: Browser, tmp_path: Path) -> None:
    """After a restart the server knows no sessions: the page asks for the key again, by itself."""

    def login() -> None:
        chromium.driver.find_element("id", "key").send_keys("correct horse", Keys.ENTER)
        until(chromium, lambda: "wex_catalogue" in text(chromium, "#g-executions"))

    with Server(tmp_path / "db", web=0, api_key="correct horse") as first:
        port, url = first.port, str(first.web_url)
        with GrpcSink(first.target, api_key="correct horse") as sink:
            show(sink, carrying())
        chromium.visit(url)
        login()
    with Server(tmp_path / "db", port=port, web=int(url.rstrip("/").rpartition(":")[2]), api_key="correct horse"):
        until(chromium, lambda: "API key of this server" in text(chromium, "main"))
        login()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("path", ["", "executions/workflow/wex_catalogue", "executions/agent/aex_build", "login"])
def test_nothing_is_wider_than_the_window(
    chromium: Browser, server: Server, sink: GrpcSink, path: str, width: int
) -> None:
    """On a phone and on a desk there is nothing to scroll sideways."""
    show(sink, orders(), carrying(), agent())
    visit(chromium, server, path, width)
    wide, visible = chromium.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= visible <= width


def test_nothing_to_show_is_said(chromium: Browser, server: Server, sink: GrpcSink) -> None:
    """A list without executions says so, and an execution without tasks has no timeline until the first comes."""
    visit(chromium, server)
    until(chromium, lambda: text(chromium, "#g-executions") == "There is none yet.")
    with StatusBuilder("wex_1", sinks=[sink]) as status:
        assert status.flush(TIMEOUT)
        until(chromium, lambda: "wex_1" in text(chromium, "#g-executions"))
        assert "none yet" not in text(chromium, "#g-executions")
        visit(chromium, server, "executions/workflow/wex_1")
        assert "Timeline" not in text(chromium, "main")
        status.add_task("a", "First")
        until(chromium, lambda: "First" in text(chromium, "main"))
        assert "Timeline" in text(chromium, "main")


def test_the_list_has_room(chromium: Browser, server: Server, sink: GrpcSink) -> None:
    """The widest badge, count and duration do not lie on each other, on a desk and on a phone."""
    show(sink, many(2_000))
    for width in (1280, 390):
        visit(chromium, server, width=width)
        until(chromium, lambda: "1,900" in text(chromium, "#g-executions"))
        lies_on_another = chromium.run("""
          const boxes = [...document.querySelectorAll('#g-executions .badge, #g-executions .num')].map(one => {
            const inside = document.createRange();
            inside.selectNodeContents(one);
            return (one.className.includes('badge') ? one : inside).getBoundingClientRect();
          });
          return boxes.some((one, place) => boxes.slice(place + 1).some(other =>
            one.left < other.right + 6 && other.left < one.right + 6 &&
            one.top < other.bottom && other.top < one.bottom));
        """)
        assert not lies_on_another, width


def test_it_works_by_keyboard(chromium: Browser, server: Server, sink: GrpcSink) -> None:
    """Tab and Enter lead from the list to an execution, open its details, which stay open as it changes, and filter."""
    with StatusBuilder("wex_1", sinks=[sink]) as status:
        status.add_task("a", "First", TaskStatus.IN_PROGRESS, input={"page": 1})
        status.add_task("b", "Second")
        assert status.flush(TIMEOUT)
        visit(chromium, server)
        until(chromium, lambda: "wex_1" in text(chromium, "#g-executions"))

        def press(*keys: str) -> None:
            for key in keys:
                chromium.driver.switch_to.active_element.send_keys(key)

        press(Keys.TAB, Keys.TAB)
        assert chromium.run("return document.activeElement.innerText") == "wex_1"
        press(Keys.ENTER)
        until(chromium, lambda: "First" in text(chromium, "#t0"))
        for _ in range(8):
            press(Keys.TAB)
            if chromium.run("return document.activeElement.tagName") == "SUMMARY":
                break
        press(Keys.ENTER)
        assert chromium.run("return document.querySelector('#t0 details').open")
        status.update_task_status("a", TaskStatus.IN_PROGRESS, "half of it")
        until(chromium, lambda: "half of it" in text(chromium, "#t0"))
        assert chromium.run("return document.querySelector('#t0 details').open")
        assert chromium.run("return document.activeElement.tagName") == "SUMMARY"
        chromium.run("document.getElementById('f-all').focus()")
        press(Keys.ARROW_RIGHT)
        visible = "return [...document.querySelectorAll('.task')].filter(row => row.offsetParent).map(row => row.id)"
        assert chromium.run(visible) == ["t1"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", "executions/workflow/wex_catalogue", "executions/agent/aex_build"])
def test_people_who_listen_or_see_little_can_use_it(
    chromium: Browser, server: Server, sink: GrpcSink, path: str, scheme: str, axe: str
) -> None:
    """axe-core finds no name, role or contrast that is missing."""
    show(sink, orders(), carrying(), agent())
    visit(chromium, server, path, scheme=scheme)
    until(chromium, lambda: chromium.run("return document.querySelectorAll('tbody tr').length") > 0)
    chromium.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
    found = chromium.driver.execute_async_script("""
      const done = arguments[arguments.length - 1];
      axe.run().then(result => done(result.violations.map(one => [one.id, one.nodes[0].html])));
    """)
    assert found == []


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of axe-core, from npm."""
    folder = tmp_path_factory.mktemp("axe")
    if shutil.which("npm") is None:
        missing("needs npm, for axe-core")
    command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core@4"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        missing(f"axe-core cannot be had from npm: {done.stderr}")
    return (folder / "node_modules/axe-core/axe.min.js").read_text()


def test_nothing_comes_from_another_host(chromium: Browser, server: Server, sink: GrpcSink) -> None:
    """All that the page loads is from the server itself."""
    show(sink, carrying())
    visit(chromium, server, "executions/workflow/wex_catalogue")
    loaded = chromium.run("return performance.getEntries().map(e => e.name).filter(n => n.includes('://'))")
    assert loaded
    assert [url for url in loaded if not url.startswith(str(server.web_url))] == []


HOSTILE = "<img src=x onerror=document.title='hurt'><script>document.title='hurt'</script>\"'>--></style>\u202e"


def test_hostile_texts_are_text(chromium: Browser, server: Server, sink: GrpcSink) -> None:
    """Ids, names, errors, messages and payloads are shown, and do nothing."""
    texts = dict.fromkeys(("message", "waiting_for", "worker", "parent_id"), HOSTILE)
    metadata = {**texts, "log_url": f"https://x/{HOSTILE}"}
    task = Task(
        "t" + HOSTILE, HOSTILE, status=TaskStatus.FAILED, error=HOSTILE, input={HOSTILE: HOSTILE}, metadata=metadata
    )
    show(sink, Snapshot("wex_1" + HOSTILE, epoch=1, revision=1, tasks=(task,)))
    visit(chromium, server)
    until(chromium, lambda: "wex_1" in text(chromium, "#g-executions"))
    chromium.run("document.querySelector('#g-executions a').click()")
    until(chromium, lambda: text(chromium, "#t0") != "")
    assert "<img src=x" in text(chromium, "#t0")
    assert chromium.run("return document.images.length") == 0
    assert chromium.run("return document.querySelectorAll('#g-tasks script, #g-tasks style').length") == 0
    assert chromium.run("return document.title") != "hurt"


def test_thousands_of_tasks_are_live(chromium: Browser, server: Server, sink: GrpcSink) -> None:
    """Each change of one of 2,000 tasks is seen, and no other row is made anew for it."""
    snapshot = many(2_000)
    show(sink, snapshot)
    visit(chromium, server, "executions/workflow/wex_many")
    until(chromium, lambda: chromium.run("return document.querySelectorAll('tbody tr').length") == 2000)
    chromium.run("document.querySelectorAll('tbody tr').forEach(row => { row.seen = true; })")
    with StatusBuilder("wex_many", initial=snapshot, sinks=[sink]) as status:
        for number in range(10):
            status.update_task_status(snapshot.tasks[1900 + number].task_id, TaskStatus.IN_PROGRESS, f"step {number}")
        until(chromium, lambda: "step 9" in chromium.run("return document.getElementById('t1909').textContent"))
        status.suspend()
    assert chromium.run("return [...document.querySelectorAll('tbody tr')].filter(row => !row.seen).length") == 10
