"""Payloads that are no JSON of the default converter's: shown as what they are, or not at all."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import temporal_workflows as flows
from temporal_codecs import Own, Reversing
from temporal_kit import PATIENCE, Stage, run, shown, stage, whole
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, HeaderCodecBehavior, WorkflowFailureError
from temporalio.common import RawValue
from temporalio.converter import DataConverter

from statusbuilder import ExecutionPhase, Snapshot
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.temporal import fold_workflow, reconcile
from statusbuilder.testing import FaultyBackend

pytest_plugins = ["temporal_server"]

ONE = Payload(metadata={"encoding": b"json/plain"}, data=b"1")


async def told(at: Stage, workflow_id: str, execution_id: str) -> Snapshot:
    """Return the end that a worker told, when the history tells the same."""
    last = await at.shelf.end(execution_id)
    folded = await fold_workflow(at.client, workflow_id)
    assert (folded.execution_id, whole(folded)) == (execution_id, whole(last))
    return last


@pytest.mark.parametrize(
    ("encoding", "data", "value"),
    [
        ("json/plain", b'{"a": 1}', {"a": 1}),
        ("json/protobuf", b'{"someName": "x"}', {"someName": "x"}),
        ("binary/plain", b"\x00\xff", "<2 bytes>"),
        ("binary/plain", b"text", "text"),
        ("binary/null", b"", None),
        ("binary/protobuf", b"\x0a\x01x", "<not readable>"),
        ("binary/strange", b"1", "<not readable>"),
        ("json/plain", b"no JSON", "<not readable>"),
        ("", b"1", "<not readable>"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_any_encoding_is_shown_or_left_out(
    temporal: str, encoding: str, data: bytes, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What can be read is shown; what cannot is nothing, or says so among others, and nothing fails."""

    async def body() -> None:
        first = RawValue(Payload(metadata={"encoding": encoding.encode()} if encoding else {}, data=data))
        async with stage(temporal, [flows.Picking], [flows.pick]) as at:
            handle = await at.start("Picking", first, RawValue(ONE), result_type=RawValue)
            await handle.result()
            last = await told(at, handle.id, handle.id)
        alone = None if value in (None, "<not readable>") else value if isinstance(value, dict) else {"value": value}
        (task,) = last.tasks
        assert (task.input, task.output, last.output) == ({"value": [value, 1]}, alone, alone)

    with caplog.at_level(logging.WARNING):
        run(body())
    assert not caplog.messages


def test_what_is_nested_too_deep_hides_nothing(temporal: str) -> None:
    """JSON that only the parser of Python 3.15 and later takes does not keep what follows from being shown."""

    async def body() -> None:
        deep = Payload(metadata={"encoding": b"json/plain"}, data=b"[" * 50_000 + b"]" * 50_000)
        async with stage(temporal, [flows.Picking], [flows.pick]) as at:
            handle = await at.start("Picking", RawValue(deep), RawValue(ONE), result_type=RawValue)
            await handle.result()
            last = await told(at, handle.id, handle.id)
        assert last.phase is ExecutionPhase.COMPLETED
        assert last.tasks[0].input is not None
        assert last.tasks[0].input["value"][1] == 1

    run(body())


def test_a_converter_of_the_users_own_is_asked(temporal: str) -> None:
    """Inputs, names, errors with details, and the memo that names the execution are read as the worker reads them."""

    async def body() -> None:
        client = await Client.connect(temporal, data_converter=DataConverter(payload_converter_class=Own))
        async with stage(temporal, [flows.Failing], [flows.double, flows.refuse], client=client) as at:
            execution_id = at.name("memo")
            handle = await at.start(flows.Failing.run, "no money", memo={"statusbuilder.execution_id": execution_id})
            with pytest.raises(WorkflowFailureError):
                await handle.result()
            last = await told(at, handle.id, execution_id)
        assert [(task.task_name, task.input, task.error) for task in last.tasks] == [
            ("Begin well", {"value": 1}, None),
            ("refuse", {"value": "no money"}, "Refusal: no money"),
        ]
        assert last.error == "activity 'refuse' failed: Refusal: no money"

    run(body())


def test_what_a_codec_hid_is_no_shorter_than_it_was(temporal: str) -> None:
    """What a run handed on, in an encrypted header, is read whole, however few bytes of a payload are kept."""

    async def body() -> None:
        converter = dataclasses.replace(DataConverter.default, payload_codec=Reversing())
        options: dict[str, Any] = {"header_codec_behavior": HeaderCodecBehavior.CODEC}
        client = await Client.connect(temporal, data_converter=converter, **options)
        with FaultyBackend(aware=True) as backend, GrpcSink(backend.target, min_interval=0.0) as sink:
            async with stage(temporal, [flows.ContinuingToWait], [flows.double], client=client, reconcile=None) as at:
                handle = await at.start(flows.ContinuingToWait.run, 3)
                await at.shelf.until(lambda one: one.progress.completed == 3)
                await handle.terminate()
                sink.send(Snapshot(handle.id, epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS))
                assert sink.flush(10)
                since = datetime.now(timezone.utc) - timedelta(minutes=1)
                look: Any = None
                while look is None or not look.told:
                    look = await reconcile(
                        client, sink, task_queue=at.queue, since=since, builder={"max_payload_bytes": 128}
                    )
            assert shown(backend.snapshot(handle.id)) == [(f"double-{n}", "COMPLETED") for n in (1, 2, 3)]

    run(body())


def test_heartbeats_of_an_open_workflow_are_decoded(temporal: str) -> None:
    """What an activity under way says of itself is read, whatever codec hid it."""

    async def body() -> None:
        converter = dataclasses.replace(DataConverter.default, payload_codec=Reversing())
        client = await Client.connect(temporal, data_converter=converter)
        async with stage(temporal, [flows.Long], [flows.talkative], client=client) as at:
            flows.heard.clear()  # what another test has said
            handle = await at.start(flows.Long.run, "talkative")
            async with asyncio.timeout(PATIENCE):
                while not any(task.progress for task in (await fold_workflow(client, handle.id)).tasks):
                    await asyncio.sleep(0.05)
            flows.heard.append("half way")
            await handle.result()
            flows.heard.clear()

    run(body())


@pytest.mark.parametrize(
    ("sizes", "whole_ones", "most"),
    [([200_000], 1, 220_000), ([100_000] * 2, 2, 220_000), ([900_000] * 4, 0, 100_000), ([100_000] * 9, 2, 260_000)],
    ids=["one as it is", "two as they are", "four that are too large", "nine that are too large together"],
)
def test_what_comes_at_once_is_shown_as_far_as_its_thread_has_time(
    temporal: str, sizes: list[int], whole_ones: int, most: int
) -> None:
    """More than can be looked through in the thread of a workflow is cut, and no workflow task fails."""

    async def body() -> None:
        async with stage(temporal, [flows.Gathering], [flows.length_of], reconcile=None) as at:
            handle = await at.start(flows.Gathering.run, sizes)
            assert await handle.result() == sum(sizes)
            last = await at.shelf.end(handle.id)
            events = (await handle.fetch_history()).events
        assert not [event for event in events if event.HasField("workflow_task_failed_event_attributes")]
        inputs = [task.input or {} for task in last.tasks]
        assert ["truncated" in given for given in inputs] == [False] * whole_ones + [True] * (len(sizes) - whole_ones)
        assert sum(len(json.dumps(dict(given))) for given in inputs) < most

    run(body())
