"""The demo, as the README's command runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from places import ROOT
from terminal_kit import terminal

DEMO = ROOT / "examples" / "demo.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with two subfolders and a file beside them."""
    for name in ("one/a.txt", "one/deep/b.txt", "two/c.txt", "d.txt"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name * 100)
    return tmp_path / "data"


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, DEMO, folder], capture_output=True, text=True, timeout=30)


def test_the_demo_completes(folder: Path) -> None:
    """Lines tell what happens as the server says it, then what it holds, and the last three what was to be seen."""
    done = run(folder)
    assert (done.returncode, done.stderr) == (0, "")
    live, _, held = done.stdout.partition("What the server holds:\n")
    assert re.search(r"task demo's uploads/ \S+.*: retry 1", live)
    assert re.search(r"task demo's inbox/ SKIPPED: there are no files in it\n", live)
    assert re.search(r"task one/ COMPLETED", live)
    assert re.search(r" demo-\d+ COMPLETED after .*\(4 completed, 1 skipped\)", live)
    assert re.match(r"demo-\d+  COMPLETED  \S+ s  4 completed, 1 skipped\n", held)
    assert re.search(r"output: \{\"bytes\": 503700, \"files\": 6}\n", held)
    *_, blank, seen, skipped, after = held.splitlines()
    assert blank == ""
    assert seen.startswith("You saw 5 tasks, four at a time: a fan-out. One failed")
    assert skipped.startswith("One was skipped")
    assert after.startswith("Next: ")


def test_the_default_is_short() -> None:
    """Without a folder it works on a few packages of the standard library, in fewer than 25 lines before its last."""
    done = subprocess.run([sys.executable, DEMO], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) - 3 < 25


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs files of Linux that nobody can read")
def test_the_demo_fails_where_files_cannot_be_read() -> None:
    """A file that cannot be read fails its task twice, the execution, and the exit status; `get` says why."""
    done = run(Path("/proc/self/task"))
    assert done.returncode == 1
    assert re.search(r"^Not completed: \[Errno", done.stderr)
    held = done.stdout.partition("What the server holds:\n")[2]
    assert re.match(r"demo-\d+  FAILED  ", held)
    assert re.search(r"\d+/ +FAILED .* retry 1, \w*Error: ", held)


def test_ctrl_c_shows_cancelled_and_leaves_the_terminal_in_order(folder: Path) -> None:
    """Interrupted in a terminal, the view ends with CANCELLED, and so does what the server holds."""
    with (folder / "two" / "large").open("wb") as large:
        large.truncate(200 * 1024**3)
    with terminal(sys.executable, str(DEMO), str(folder), lines=40) as view:
        view.wait(lambda text: re.search(r"\S two/ +\d", text) is not None and "retry 1" in text)
        view.type(b"\x03")
        assert view.end() == 1
        view.assert_in_order()
        assert re.search(r"^demo-\d+  CANCELLED  \S+ s\n", view.text, re.MULTILINE)
        assert re.search(r"^Interrupted.$", view.text, re.MULTILINE)
        assert re.search(r"holds:\ndemo-\d+  CANCELLED ", view.text)
        assert re.search(r"two/ +FAILED .* cancelled", view.text)
        assert "Traceback" not in view.text


def test_a_folder_that_is_none() -> None:
    """A wrong argument is a usage error."""
    done = run(Path("/nowhere"))
    assert done.returncode == 2
    assert "/nowhere is not a folder." in done.stderr


def test_it_can_be_seen_in_a_browser(folder: Path) -> None:
    """With --web it prints where the page is, which stays until Ctrl-C."""
    pytest.importorskip("uvicorn", reason="the extra web is not there")
    with terminal(sys.executable, str(DEMO), "--web", str(folder), lines=40) as view:
        view.wait(lambda text: "Ctrl-C ends the page." in text)
        url = re.search(r"Page at (http://\S+)", view.text)
        assert url is not None
        with urlopen(url[1], timeout=20) as answer:
            assert answer.status == 200
        view.type(b"\x03")
        assert view.end() == 0
        assert "Next: " in view.text
