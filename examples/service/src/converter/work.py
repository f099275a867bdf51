"""The work: one file, in a few steps, each of which is a task of the execution's status."""

from __future__ import annotations

import asyncio
import csv
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path

from statusbuilder import StatusBuilder, TaskType

BATCH = 5_000
"""Rows that are handled at a time; between two batches the work can be cancelled."""


class BadFileError(Exception):
    """A file is no CSV that can be converted."""


async def convert(source: Path, target: Path, status: StatusBuilder) -> None:
    """Convert a CSV file to JSON Lines, and add up its columns of numbers meanwhile.

    Args:
        source: the CSV file; its first row has the names of the columns.
        target: the file to write; it appears when it is whole.
        status: where the steps are reported.

    Raises:
        BadFileError: the file is empty, or a row has more or fewer values than there are columns.
    """
    unfinished = target.with_suffix(".part")
    try:
        async with status.task("check", "Check the rows", input={"file": source.name}) as task:
            rows = await _count(source)
            task.output = {"rows": rows}
        await asyncio.gather(_write(source, unfinished, rows, status), _add_up(source, status))
        async with status.task("publish", "Publish the result", input={"file": target.name}):
            unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


async def _count(source: Path) -> int:
    return sum([len(batch) async for batch in _batches(source)])


async def _write(source: Path, target: Path, rows: int, status: StatusBuilder) -> None:
    async with status.task("write", "Write JSON Lines", task_type=TaskType.TRANSFORM) as task:
        done = 0
        with target.open("w", encoding="utf-8") as file:
            async for batch in _batches(source):
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch)
                done += len(batch)
                task.update(f"{done:,} of {rows:,} rows")
        task.output = {"bytes": target.stat().st_size}


async def _add_up(source: Path, status: StatusBuilder) -> None:
    async with status.task("add_up", "Add up the columns of numbers", task_type=TaskType.TRANSFORM) as task:
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        texts: set[str] = set()
        async for batch in _batches(source):
            for row in batch:
                for column in row.keys() - texts:
                    try:
                        sums[column] += Decimal(row[column])
                    except InvalidOperation:
                        texts.add(column)
        found = {column: sums[column] for column in sorted(sums.keys() - texts)}
        if found:
            task.output = found
        else:
            task.skip("No column has only numbers.")


async def _batches(source: Path) -> AsyncIterator[list[dict[str, str]]]:
    """Yield the rows of a file in lists; the event loop goes on meanwhile."""
    rows = _rows(source)
    while batch := await asyncio.to_thread(lambda: list(islice(rows, BATCH))):
        yield batch


def _rows(source: Path) -> Iterator[dict[str, str]]:
    with source.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file, strict=True)
        try:
            columns = next(lines, None)
            if columns is None:
                raise BadFileError(f"{source.name} is empty.")
            for row in lines:
                if len(row) != len(columns):
                    wrong = f"line {lines.line_num} has {len(row)} values for {len(columns)} columns"
                    raise BadFileError(f"{source.name}: {wrong}.")
                yield dict(zip(columns, row, strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadFileError(f"{source.name}: {error}.") from error
