"""Made the files beside it, run with statusbuilder 0.1.0 in a folder of its own; it is here to be read.

A runner whose backend is away reports a failed workflow, an agent that waits, and a workflow that is under way when the
process is killed.
"""

import os
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path

from statusbuilder import AgentStatusBuilder, ExecutionPhase, MessageType, StatusBuilder, TaskStatus, TaskType
from statusbuilder.contracts import AGENT_EXECUTION
from statusbuilder.contracts.wire import agent_pb2
from statusbuilder.sinks.grpc import GrpcSink

numbers = count()


def clock():
    return datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc) + timedelta(milliseconds=125 * next(numbers))


sink = GrpcSink("127.0.0.1:1", spool="spool.db", attempt_timeout=1.0)

done = StatusBuilder("wex_done", sinks=[sink], clock=clock, epoch=5)
done.add_task("fetch", "Fetch the orders", TaskStatus.IN_PROGRESS, task_type=TaskType.API_CALL, input={"page": 1})
done.update_task_status("fetch", TaskStatus.FAILED, "no answer")
done.update_task_status("fetch", TaskStatus.IN_PROGRESS)
done.update_task_status("fetch", TaskStatus.COMPLETED, "fetched", output={"orders": 3})
done.add_task("pay", "Pay")
done.with_error("out of paper")
done.close(timeout=3)

agent = AgentStatusBuilder("aex_done", sinks=[sink], clock=clock, epoch=5)
agent.add_message(MessageType.HUMAN, "How many?")
call = agent.start_tool_call("call_1", "count", {"what": "orders"})
agent.update_task_status(call, TaskStatus.COMPLETED, output="3")
agent.set_todos([{"content": "count", "status": "completed"}])
agent.append_text("Three.")
agent.update_status(ExecutionPhase.COMPLETED)
agent.close(timeout=3)

cancelled = StatusBuilder("wex_cancelled", clock=clock, epoch=5)
cancelled.add_task("wait", "Wait", TaskStatus.IN_PROGRESS)
cancelled.update_status(ExecutionPhase.CANCELLED)

open_ = StatusBuilder("wex_open", sinks=[sink], clock=clock, epoch=5)
open_.add_task("convert", "Convert", TaskStatus.IN_PROGRESS)
open_.flush(timeout=3)

told = agent_pb2.AgentExecutionStatus(phase=2, messages=[agent_pb2.AgentMessage(type=1, content="hi")])
Path("without_times.json").write_text(AGENT_EXECUTION.to_snapshot(told, "aex_old").to_json())
Path("workflow.json").write_text(done.snapshot().to_json())
Path("agent.json").write_text(agent.snapshot().to_json())
Path("cancelled.json").write_text(cancelled.snapshot().to_json())
os._exit(1)  # as kill -9 would end it
