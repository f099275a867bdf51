"""The work on one file, with a sink that keeps every snapshot."""

import asyncio
import json
from pathlib import Path

import pytest
from converter.work import BATCH, BadFileError, convert

from statusbuilder import StatusBuilder
from statusbuilder.sinks import MemorySink
from statusbuilder.testing import assert_phase, assert_tasks


async def run(source: Path, target: Path, sink: MemorySink) -> None:
    """Do what the service does with one file."""
    async with StatusBuilder("convert-1", sinks=[sink]) as status:
        await convert(source, target, status)


def test_a_file_is_converted(tmp_path: Path, status_sink: MemorySink) -> None:
    """Every row becomes a line of JSON, and columns of numbers are added up."""
    source, target = tmp_path / "orders.csv", tmp_path / "orders.jsonl"
    source.write_text("customer,amount\nAda,12.50\nGrace,7.25\n")
    asyncio.run(run(source, target, status_sink))
    assert [json.loads(line) for line in target.read_text().splitlines()] == [
        {"customer": "Ada", "amount": "12.50"},
        {"customer": "Grace", "amount": "7.25"},
    ]
    assert_phase(status_sink, "COMPLETED")
    assert_tasks(status_sink, check="COMPLETED", write="COMPLETED", add_up="COMPLETED", publish="COMPLETED")
    last = status_sink.snapshots[-1]
    assert last.task("check").output == {"rows": 2}
    assert last.task("add_up").output == {"amount": 19.75}


def test_progress_is_shown(tmp_path: Path, status_sink: MemorySink) -> None:
    """A large file's messages say how many of its rows are written."""
    source = tmp_path / "many.csv"
    source.write_text("n\n" + "1\n" * (BATCH + 1))
    asyncio.run(run(source, tmp_path / "many.jsonl", status_sink))
    messages = {
        snapshot.task("write").metadata.get("message")
        for snapshot in status_sink.snapshots
        if any(task.task_id == "write" for task in snapshot.tasks)
    }
    assert {"5,000 of 5,001 rows", "5,001 of 5,001 rows"} <= messages


def test_nothing_to_add_up(tmp_path: Path, status_sink: MemorySink) -> None:
    """A file without a column of numbers skips that task, and is converted."""
    source = tmp_path / "names.csv"
    source.write_text("name\nAda\n")
    asyncio.run(run(source, tmp_path / "names.jsonl", status_sink))
    assert_tasks(status_sink, add_up="SKIPPED", publish="COMPLETED")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"a,b\n1\n", "line 2 has 1 values for 2 columns"),
        (b"a\n\xff\n", "invalid start byte"),
        (b'a\n"b', "unexpected end of data"),
    ],
)
def test_a_bad_file_fails(tmp_path: Path, status_sink: MemorySink, content: bytes, why: str) -> None:
    """What is no CSV fails the check, with the reason, and leaves no result behind."""
    source, target = tmp_path / "bad.csv", tmp_path / "bad.jsonl"
    source.write_bytes(content)
    with pytest.raises(BadFileError, match=why):
        asyncio.run(run(source, target, status_sink))
    assert_phase(status_sink, "FAILED")
    assert_tasks(status_sink, check="FAILED", write=None)
    assert why in (status_sink.snapshots[-1].error or "")
    assert list(tmp_path.iterdir()) == [source]
