"""The report: a page that is whole in itself, says everything, and can be read everywhere."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import attrs
import pytest
from browser_kit import Browser, browser
from hypothesis import given, settings
from hypothesis import strategies as st
from view_values import START, agent, carrying, many, orders

from statusbuilder import ExecutionPhase, Snapshot, Task, TaskStatus
from statusbuilder.agent.model import AgentSnapshot
from statusbuilder.cli import main
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.views import html_report

VOID = {"meta", "input", "br"}
HOSTILE = "</style><script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'&<b>"


class Page(HTMLParser):
    """The page's elements and text; a closing tag that does not fit is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data

    def all(self, tag: str, name: str) -> list[str | None]:
        return [attributes.get(name) for found, attributes in self.elements if found == tag]


def test_the_cause_comes_before_what_was_cancelled_for_it() -> None:
    """Of what failed the page names first what was not cancelled."""
    cancelled = Task("a", "Cancelled", status=TaskStatus.FAILED, error="cancelled", metadata={"cancelled": True})
    cause = Task("b", "Cause", status=TaskStatus.FAILED, error="disk full")
    page = html_report(Snapshot("wex_1", phase=ExecutionPhase.FAILED, tasks=(cancelled, cause)))
    failures = page[page.index("What failed") : page.index("Timeline")]
    assert failures.index("Cause") < failures.index("Cancelled")


def test_it_says_what_happened() -> None:
    """Phase, times, counts, errors, messages, retries and payloads are in the text."""
    text = " ".join(Page(html_report(orders())).text.split())
    for said in (
        "wex_orders ✗ FAILED", "Took5.00 s", "5: 2 failed, 1 completed, 2 skipped", "TimeoutError: no answer",
        "retried once", "only on Fridays", "7 of 12 mails", '"rows": 12', "2026-01-16T09:30:00.000Z",
    ):  # fmt: skip
        assert said in text


def test_an_agent_has_its_plan_and_conversation() -> None:
    """Todos, messages and links to the tool calls are there."""
    page = Page(html_report(agent()))
    for said in ("Read the log (completed)", "Why is the build red?", "The failure comes from", "3 failed, 120 passed"):
        assert said in page.text
    assert page.all("a", "href").count("#t1") == 1


@pytest.mark.parametrize("snapshot", [orders(), orders(ended=False), agent(), many(250), Snapshot("")])
def test_it_is_a_function_of_the_snapshot(snapshot: Snapshot) -> None:
    """The same snapshot, also after a round trip through JSON, gives the same well-formed page."""
    page = html_report(snapshot)
    assert page == html_report(type(snapshot).from_dict(json.loads(snapshot.to_json())))
    Page(page)


def test_it_shows_what_is_known_beside_a_status() -> None:
    """A tree, a bar for each attempt with what became of it, waits, progress, the worker, and a link to the log."""
    page = html_report(carrying())
    america = re.search(r'<tr[^>]*id="t2">.*?</tr>', page, re.DOTALL)
    assert america is not None
    assert re.findall(r"<i class=\"(\w+)", america[0]) == ["FAILED", "FAILED", "IN_PROGRESS"]
    assert "attempt 1 failed after 1.50 s: ConnectionResetError: [Errno 104]" in america[0]
    assert 'style="--depth:1"' in america[0]
    assert "waiting for a worker of queue asia" in page
    assert "40/100 done" in page
    assert '<a href="https://logs.example.com/1" rel="noopener noreferrer">log</a>' in page
    assert page.index('id="t3"') < page.index('id="t4"')


def test_only_http_becomes_a_link() -> None:
    """Another address of a log is text, and none leaves its attribute."""

    def page(url: str) -> str:
        return html_report(Snapshot("e", tasks=(Task("t", "t", metadata={"log_url": url}),)))

    for url in ("javascript:alert(1)", "file:///etc/passwd", " https://x"):
        assert "<a href" not in page(url)
        assert "log: " in page(url)
    assert '<a href="https://x/&quot;onclick=&quot;y" rel' in page('https://x/"onclick="y')


def test_it_loads_and_runs_nothing() -> None:
    """No address but places in the page, no script, no handler, and a policy that forbids all of it."""
    html = html_report(agent())
    page = Page(html)
    assert {tag for tag, _ in page.elements} <= {
        "a", "article", "body", "dd", "details", "div", "dl", "dt", "h1", "h2", "head", "header", "html", "i", "input",
        "label", "li", "meta", "ol", "p", "pre", "section", "span", "style", "summary", "table", "tbody", "td", "th",
        "thead", "title", "tr", "ul",
    }  # fmt: skip
    assert all(href is not None and href.startswith("#t") for href in page.all("a", "href"))
    assert not {
        name for _, attributes in page.elements for name in attributes if name.startswith("on") or name == "src"
    }
    assert "url(" not in html
    assert "default-src 'none'; style-src 'unsafe-inline'" in page.all("meta", "content")


def hostile(text: str) -> AgentSnapshot:
    """Return an execution that has a text wherever one can be."""
    payload = orders().tasks[0].input
    assert payload is not None
    named = type(payload)({text: text, "message": text})
    task = Task(
        text or "-", text, status=TaskStatus.FAILED, input=named, output=named, error=text, metadata=named,
        started_at=START, completed_at=START,
    )  # fmt: skip
    base = agent()
    message = attrs.evolve(base.messages[0], content=text, tool_calls=(text,))
    todo = attrs.evolve(base.todos[0], content=text)
    return attrs.evolve(
        base, execution_id=text, phase=ExecutionPhase.FAILED, tasks=(task,), error=text, output=named,
        temporal_workflow_id=text, messages=(message,), todos=(todo,),
    )  # fmt: skip


@settings(max_examples=50)
@given(st.text(st.characters(), max_size=30))
def test_no_text_becomes_a_tag(text: str) -> None:
    """Whatever the texts are, the page has the same elements, and can be written as UTF-8."""
    html = html_report(hostile("x" + text))
    html.encode()
    tags = [tag for tag, _ in Page(html).elements]
    assert tags == [tag for tag, _ in Page(html_report(hostile("x"))).elements]


def test_long_payloads_are_cut() -> None:
    """What nobody can read is left out, and the page says how much."""
    payload = orders().tasks[0].input
    assert payload is not None
    task = attrs.evolve(orders().tasks[0], input=type(payload)({"value": "y" * 100_000}))
    page = html_report(attrs.evolve(orders(), tasks=(task,)))
    assert len(page) < 40_000
    assert "(96,000 characters more)" in page


def test_it_is_a_table_for_those_who_listen() -> None:
    """A table with roles and headings, bars that are not read out, and choices that have labels."""
    page = Page(html_report(orders()))
    assert page.all("table", "aria-label") == ["Tasks"]
    assert page.all("tr", "role") == ["row"] * 6
    assert page.all("th", "scope") == ["col"] * 5 + ["row"] * 5
    lanes = [attributes for tag, attributes in page.elements if attributes.get("class") == "lane"]
    assert [lane["aria-hidden"] for lane in lanes] == ["true"] * 5
    assert page.all("label", "for") == page.all("input", "id")
    assert page.all("html", "lang") == ["en"]


def test_of_a_traceback_the_summary_shows_the_error() -> None:
    """Where a task's error is a whole traceback, the list of failures has its last line; the timeline has all."""
    trace = "Traceback (most recent call last):\n  File 'run.py', line 1\nPermissionError: denied\n"
    snapshot = Snapshot("wex_1", tasks=(Task("t", "Archive", status=TaskStatus.FAILED, error=trace),))
    text = html_report(snapshot)
    assert '<a href="#t0">Archive</a>: PermissionError: denied</li>' in text
    assert "File &#x27;run.py&#x27;, line 1" in text


def test_what_was_skipped_took_no_time() -> None:
    """A skipped task has no duration, as in the terminal."""
    text = html_report(orders())
    row = text[text.index("Tell the CEO") :]
    assert row[: row.index("</tr>")].count('class="num none">-<') == 1


# The command


def test_report_of_a_file(tmp_path: Path) -> None:
    """A snapshot's JSON in a file becomes a page, an agent's with its messages."""
    for snapshot in (orders(), agent()):
        (tmp_path / "snapshot.json").write_text(snapshot.to_json())
        assert main(["report", str(tmp_path / "snapshot.json"), "-o", str(tmp_path / "page.html")]) == 0
        assert (tmp_path / "page.html").read_text() == html_report(snapshot)


def test_report_of_an_execution(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An id is asked for at the backend, a workflow's or an agent's; what was written is said."""
    page = tmp_path / "page.html"
    with Server() as server, GrpcSink(server.target) as sink:
        sink.send(orders())
        sink.send(agent())
        assert sink.flush()
        for execution_id, text in (("wex_orders", "Check the stock"), ("aex_build", "Why is the build red?")):
            assert main(["report", execution_id, "-o", str(page), "--target", server.target]) == 0
            assert text in page.read_text()
            assert capsys.readouterr().out == f"Wrote {page}\n"


def test_report_of_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is neither a file nor an execution is one line that says both, and exit status 2."""
    with Server() as server:
        assert main(["report", "odd.json", "--target", server.target]) == 2
        expected = f"statusbuilder report: there is no file 'odd.json', and {server.target} has no such execution\n"
        assert capsys.readouterr().err == expected
    assert main(["report", "odd.json", "--target", "127.0.0.1:1"]) == 2
    assert capsys.readouterr().err.endswith("no file 'odd.json', and nothing listens on 127.0.0.1:1\n")


def test_report_from_stdin_to_stdout(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """`-` is standard input, and as the output standard output."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(orders().to_json().encode())))
    assert main(["report", "-", "-o", "-"]) == 0
    assert capsysbinary.readouterr().out.decode() == html_report(orders())


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a snapshot"),
        ('{"a": 1}', "is not a snapshot"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_is_no_snapshot_is_one_line(
    content: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with the file is a line on stderr, and exit status 2."""
    path = tmp_path / "odd.json"
    path.write_text(content)
    assert main(["report", str(path)]) == 2
    assert re.fullmatch(rf"statusbuilder report: {re.escape(str(path))} {text}[^\n]*\n", capsys.readouterr().err)


def test_an_output_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not there is a line on stderr, and exit status 2."""
    path = tmp_path / "snapshot.json"
    path.write_text(orders().to_json())
    assert main(["report", str(path), "-o", str(tmp_path / "no" / "page.html")]) == 2
    expected = f"statusbuilder report: {tmp_path}/no/page.html: No such file or directory\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("name", ["snapshot.json", "./snapshot.json", "link", "hard"])
def test_what_is_read_is_not_written_over(name: str, tmp_path: Path) -> None:
    """The page never replaces the file that it is made of, by whatever name: a line on stderr, and exit status 2."""
    path = tmp_path / "snapshot.json"
    path.write_text(orders().to_json())
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "hard").hardlink_to(path)
    for source in ("snapshot.json", "-"):
        with path.open() as stdin:
            command = [sys.executable, "-m", "statusbuilder", "report", source, "-o", name]
            ended = subprocess.run(command, cwd=tmp_path, stdin=stdin, capture_output=True, text=True)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr == f"statusbuilder report: {name} is what it reads; name another file with --output.\n"
    assert path.read_text() == orders().to_json()


# In a real browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Run one browser for all tests."""
    with browser() as started:
        yield started


def page_of(snapshot: Snapshot, folder: Path) -> Path:
    path = folder / "page.html"
    path.write_text(html_report(snapshot), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [320, 390, 736, 737, 1200])
@pytest.mark.parametrize("snapshot", [orders(), agent(), hostile("W" * 300)], ids=["orders", "agent", "long words"])
def test_no_page_is_wider_than_the_window(chromium: Browser, snapshot: Snapshot, width: int, tmp_path: Path) -> None:
    """On a phone and on a desk there is nothing to scroll sideways."""
    chromium.open(page_of(snapshot, tmp_path), width)
    wide, visible = chromium.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide <= visible <= width


CONTRAST = """
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const light = color => {
      canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
      const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255)
        .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = e => { const c = getComputedStyle(e).backgroundColor;
      return c === 'rgba(0, 0, 0, 0)' ? behind(e.parentElement) : c; };
    return [...document.querySelectorAll('h1, h2, a, dt, dd, th, td, .badge, .note, summary, label, .error, .soft')]
      .map(e => { const a = light(getComputedStyle(e).color), b = light(behind(e));
        return [e.className + ' ' + e.textContent.slice(0, 30), (Math.max(a, b) + .05) / (Math.min(a, b) + .05)]; });
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_in_light_and_dark(chromium: Browser, scheme: str, tmp_path: Path) -> None:
    """The page follows the system's choice, and every text has the contrast that WCAG AA asks for."""
    for snapshot in (orders(), agent(), attrs.evolve(orders(), phase=ExecutionPhase.CANCELLED)):
        chromium.open(page_of(snapshot, tmp_path), scheme=scheme)
        background = chromium.run("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background))) > 380) is (scheme == "light")
        assert not [found for found in chromium.run(CONTRAST) if found[1] < 4.5]


def bars(chromium: Browser) -> Any:
    return chromium.run(
        "return [...document.querySelectorAll('.lane')].map(lane => { const bars = [...lane.querySelectorAll('i')];"
        "if (!bars.length) return null; const a = lane.getBoundingClientRect();"
        "const [b, c] = [bars.at(0), bars.at(-1)].map(bar => bar.getBoundingClientRect());"
        "return [(b.left - a.left) / a.width, (c.right - a.left) / a.width]; })"
    )


@pytest.mark.parametrize("width", [390, 1200])
def test_bars_lie_where_the_times_are(chromium: Browser, width: int, tmp_path: Path) -> None:
    """A task's bars, one an attempt, lie in proportion to its times; a task that never started has none."""
    chromium.open(page_of(orders(ended=False), tmp_path), width)
    fetch, check, mail, later, ceo = bars(chromium)
    assert fetch == pytest.approx([0, 0.5], abs=0.01)
    assert check == pytest.approx([0.5, 1], abs=0.01)
    assert later is None
    assert 0.97 < mail[0] <= mail[1] <= 1.001
    assert 0.97 < ceo[0] <= ceo[1] <= 1.001


def test_a_choice_leaves_only_such_tasks(chromium: Browser, tmp_path: Path) -> None:
    """Choosing a status by its label hides all other tasks, without a script."""
    chromium.open(page_of(many(1000), tmp_path))
    shown = "return [...document.querySelectorAll('.task')].filter(row => row.getClientRects().length).length"
    assert chromium.run(shown) == 1000
    chromium.driver.find_element("css selector", "label[for=f-FAILED]").click()
    assert chromium.run(shown) == 1
    assert chromium.run("return document.body.scrollHeight") < 2000
    chromium.driver.find_element("css selector", "label[for=f-all]").click()
    assert chromium.run(shown) == 1000


@pytest.mark.parametrize(
    "text", [HOSTILE, "--><!--" + HOSTILE, "' onload='window.pwned=1", "javascript:window.pwned=1"]
)
def test_hostile_texts_are_text(chromium: Browser, text: str, tmp_path: Path) -> None:
    """What looks like markup is shown as it is, and nothing of it runs."""
    chromium.open(page_of(hostile(text), tmp_path))
    assert chromium.run("return window.pwned") is None
    assert chromium.run("return document.querySelector('h1').textContent").startswith(" ".join(text.split()))
    assert chromium.run("return document.scripts.length + document.images.length") == 0


def test_ten_thousand_tasks_stay_usable(chromium: Browser, tmp_path: Path) -> None:
    """The page opens, turns into a phone's, and jumps to what failed, each within seconds on a slow machine."""
    chromium.open(page_of(many(), tmp_path))
    assert chromium.run("return document.querySelectorAll('.task').length") == 10_000
    chromium.driver.find_element("css selector", "ol.failures li:last-child a").click()
    assert chromium.run("return document.querySelector(':target th').textContent").startswith("Shard 09007")
    took = chromium.run("const t = performance.now(); document.body.offsetHeight; return performance.now() - t")
    chromium.resize(390)
    took += chromium.run("const t = performance.now(); document.body.offsetHeight; return performance.now() - t")
    assert took < 10_000
    assert chromium.run("return document.documentElement.scrollWidth") <= 390
