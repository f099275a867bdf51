"""One run of a workflow on this worker, recorded from what goes into its code and what comes out of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from functools import wraps
from typing import Any, ParamSpec
from urllib.parse import quote

import attrs
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.client import Client

from ..core.model.values import ExecutionPhase, TaskStatus, TaskType
from ..core.state import ENDED_EARLY, FORGOTTEN
from ..payload.policy import PayloadPolicy
from ._builder import RunBuilder, make_builder
from ._carry import header_of, hides_payloads
from ._events import begin, time_of
from ._failures import describe_end
from ._moves import CANCELS, ENDS, STARTS, Key, undone
from ._names import CARRIED_HEADER, RESERVED
from ._payloads import M, error_of, given, own_converter, read_by, value_of
from ._settings import Settings
from ._shown import Shown
from ._steps import CONTINUED, Step, number

log = logging.getLogger("statusbuilder")

ROOM = 256 * 1024
"""Bytes of payloads that an activation looks through in full: that takes time in the workflow's thread, and the SDK
fails a workflow task whose thread is busy for 2 s."""
_LEAST_SHOWN = 1024
SLOW = 2.0
"""Seconds after which the server is asked for what it knows of an activity."""
_P = ParamSpec("_P")


def harmless(record: Callable[_P, None]) -> Callable[_P, None]:
    """Keep a defect in recording from the workflow, whose code must not notice that it is reported."""

    @wraps(record)
    def recorded(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            record(*args, **kwargs)
        except Exception:
            log.exception("A change of a workflow's status could not be recorded")

    return recorded


class Run:
    """What the plugin knows of one run; only activations change it, but for `asked_at`.

    It lives as long as the workflow is in the worker's cache. One that is rebuilt there is another one.
    """

    def __init__(self, info: workflow.Info, settings: Settings, client: Client | None) -> None:
        self.info = info
        self.settings = settings
        is_carried = CARRIED_HEADER in info.headers and not info.workflow_type.startswith(RESERVED)
        self.reported = settings.reports_workflow(info.workflow_type) or is_carried
        """Whether it is recorded: also where this worker reports nothing, and the run before it handed its tasks on."""
        self.is_published = self.reported and bool(settings.sinks)
        self.shown = Shown(settings.sinks, info.headers)
        self.now = info.workflow_start_time
        """What time it is for the workflow."""
        self.length = 0
        """Events of its history at the last activation."""
        self.most = 0
        """Events that the history has at most, if nobody else has worked on it since."""
        self.is_doubtful = False
        """Whether the last activation may be but a query's, which has the code of a run that has closed go on."""
        self.was_rebuilt = False
        self.is_reset = False
        self.knows_epoch = False
        """Whether the server has told when it was reset."""
        self.knows_history = False
        """Whether its history was read for what it says of activities, after it was rebuilt."""
        self.is_leaving = False
        """Whether it is going from the worker's cache, so that its coroutines are thrown away."""
        self.had_activities = False
        self.phase: ExecutionPhase | None = None
        """How its code has ended it, whether or not the server has accepted that."""
        self.goes_on = False
        """Whether it has asked to be continued as new."""
        self.asked_at = 0.0
        """When the server was last asked about it, in `time.monotonic` seconds."""
        self.task_of: dict[str, str] = {}
        """Tasks by the ids of activities."""
        self.local_failures: dict[str, str] = {}
        """Why the last attempts at local activities failed, by tasks; set by activities."""
        self._hides_payloads = hides_payloads(client)
        self._converter = None if client is None else own_converter(client.data_converter)
        self._builder: RunBuilder | None = None
        self._numbers: dict[str, int] = {}
        self._open: dict[Key, Step] = {}
        self._recorded = 0
        """Commands of the present activation that are recorded."""
        self._room = ROOM
        """Bytes of payloads that the present activation may still look through in full."""
        self._updates: dict[str, Any] = {}

    @property
    def builder(self) -> RunBuilder:
        """The builder, made when it is first asked for, which has to be in the workflow."""
        if self._builder is None:
            self._builder = make_builder(self.info, self.settings, lambda: self.now, self._readable)
            self._builder.catch_up = self._catch_up
        return self._builder

    def prepare(self) -> None:
        """Make the builder, in the workflow."""
        if self.reported:
            _ = self.builder

    def _readable(self, message: M) -> M:
        """Return a message with its payloads as JSON, as far as the worker can read them."""
        return message if self._converter is None else read_by(self._converter, message, self.settings.policy)

    # What goes in

    @harmless
    def take(self, act: WorkflowActivation) -> None:
        """Record what an activation tells the workflow, before its code hears of it."""
        self._recorded, self._room = 0, ROOM
        at = time_of(act.timestamp)
        self.is_doubtful = act.history_length > self.length and at <= self.now  # no workflow task began since
        self.now = max(self.now, at)
        self.was_rebuilt = self.was_rebuilt or act.is_replaying
        if act.history_length > self.length:
            self.length = act.history_length
            self.most = self.length + 1
        for job in map(self._readable, act.jobs):
            name = str(job.WhichOneof("variant"))
            told = getattr(job, name)
            self.is_reset = self.is_reset or name == "update_random_seed"
            self.is_doubtful = self.is_doubtful or name == "query_workflow"
            if name == "do_update":
                self._updates[told.protocol_instance_id] = told
            elif name == "resolve_activity" and told.result.HasField("backoff"):
                self._wait_for_local(told)
            elif name in ENDS and (gave := ENDS[name][1](told)) is not None:
                self._end((ENDS[name][0], told.seq), told.ByteSize(), *gave)
            elif name == "resolve_child_workflow_execution_start":
                self._link(("child", told.seq), told.succeeded.run_id)

    def _end(self, key: Key, size: int, output: Any = None, error: BaseException | None = None) -> None:
        step = self._open.pop(key, None)
        if step is not None:
            output, policy = self._fit(size, output)
            step.close(self.now, 0, policy, output, error)
            self._show(step)

    def _fit(self, size: int, value: Any) -> tuple[Any, PayloadPolicy]:
        """Return as much of a payload of so many bytes as there is room for, and how texts beside it are taken over."""
        policy, room = self.builder._policy, self._room
        if size <= room:
            self._room = room - size
            return value, policy
        self._room = room // 4  # as the head, the tail, and then both once more are looked through
        policy = attrs.evolve(policy, max_bytes=min(policy.max_bytes, max(room // 4, _LEAST_SHOWN)))
        return None if value is None else policy.payload(value), policy

    def _show(self, step: Step) -> None:
        if self.builder.is_running(step.task_id):
            self.builder.update_task_status(
                step.task_id, step.status, output=step.output, error=step.error, metadata=step.metadata or None
            )

    def _wait_for_local(self, told: Any) -> None:
        found = self._open.pop(("activity", told.seq), None)
        if found is not None:
            self._open[found.kind, told.result.backoff.original_schedule_time.ToNanoseconds()] = found

    def _link(self, key: Key, run_id: str) -> None:
        found, told = self._open.get(key), self.settings.ui
        if found is not None and told is not None:
            path = (self.info.namespace, "workflows", found.metadata["workflow_id"], run_id)
            url = f"{told.rstrip('/')}/namespaces/{'/'.join(quote(part, safe='') for part in path)}/history"
            self.builder.update_task_status(found.task_id, TaskStatus.IN_PROGRESS, metadata={"log_url": url})

    # What comes out

    @harmless
    def record(self, completion: WorkflowActivationCompletion) -> None:
        """Record what the workflow's code did in an activation that did not fail."""
        self._record(completion.successful.commands)
        for key, waiting in list(self._updates.items()):
            if isinstance(waiting, Step):  # which did not end at once
                self._updates[key] = None
                self._begin(("update", key), waiting, 0)

    @harmless
    def _catch_up(self) -> None:
        made = getattr(asyncio._get_running_loop(), "_current_completion", None)  # the loop is the SDK's for this run
        if made is not None and self.reported and not self.is_leaving:
            self._record(made.successful.commands)

    def _record(self, commands: Sequence[Any]) -> None:
        never = undone(commands)
        while self._recorded < len(commands):
            made = commands[self._recorded]
            self._recorded += 1
            command = self._readable(made)
            name = str(command.WhichOneof("variant"))
            told = getattr(command, name)
            self.most += 2  # a command is one event, or two
            if name == "update_response":
                self._answer(told)
            elif name in CANCELS and (found := self._open.get((CANCELS[name], told.seq))) is not None:
                found.cancel_requested_at = self.now
            elif name == "cancel_timer" and (found := self._open.pop(("timer", told.seq), None)) is not None:
                found.end(TaskStatus.SKIPPED, self.now, 0)
                self._show(found)
            elif name in _ENDINGS:
                self._close(name, told, made.continue_as_new_workflow_execution.headers)
            elif name in STARTS and not self._goes_on_locally(name, told):
                what, read = STARTS[name]
                step = begin(read, told, command.user_metadata, self.now)
                if step is not None and (what, told.seq) not in never:
                    self._begin((what, told.seq), step, told.ByteSize())

    def _begin(self, key: Key, step: Step, size: int) -> None:
        """Add a task, under the id that a fold of the history gives it; `size` is that of what it is given."""
        builder, kind = self.builder, step.kind
        if not self.settings.reports_activity(kind):
            return
        step.task_id = number(kind, self._numbers, builder.task_ids)
        self._open[key] = step
        if step.activity_id:
            self.had_activities = True
            self.task_of[step.activity_id] = step.task_id
        given: Any = {"input": self._fit(size, step.input)[0], "metadata": step.metadata or None}
        kinds = self.settings.task_types
        builder.add_task(step.task_id, step.name, step.status, task_type=kinds.get(kind, TaskType.CUSTOM), **given)

    def _goes_on_locally(self, name: str, told: Any) -> bool:
        """Whether a command begins a further attempt at a local activity."""
        if name != "schedule_local_activity" or told.attempt < 2:
            return False
        found = self._open.pop((told.activity_type, told.original_schedule_time.ToNanoseconds()), None)
        if found is not None:
            self._open["activity", told.seq] = found
            self.task_of[told.activity_id] = found.task_id
        return found is not None

    def _answer(self, told: Any) -> None:
        key = told.protocol_instance_id
        if told.HasField("accepted"):
            request = self._updates[key]
            shown = self._fit(request.ByteSize(), given(request.input))[0]
            facts: Any = {"input": shown, "metadata": {"update_id": request.id}}
            self._updates[key] = Step(kind=request.name, name=request.name, started_at=self.now, event_id=0, **facts)
            return
        self._updates.pop(key, None)
        done = told.HasField("completed")
        gave = (value_of(told.completed), None) if done else (None, error_of(told.rejected))
        self._end(("update", key), told.ByteSize(), *gave)

    def _close(self, name: str, told: Any, headers: MutableMapping[str, Payload]) -> None:
        self.phase = _ENDINGS[name]
        self.goes_on = self.phase is None
        if self.phase is None:
            self._leave(CONTINUED)
            header = header_of(self.builder.snapshot(), self.settings.carry, self._hides_payloads)
            headers[CARRIED_HEADER].CopyFrom(header)
            return
        self._leave(FORGOTTEN if self.phase is ExecutionPhase.COMPLETED else ENDED_EARLY)
        output, policy = self._fit(
            told.ByteSize(), value_of(told.result) if self.phase is ExecutionPhase.COMPLETED else None
        )
        is_failed = self.phase is ExecutionPhase.FAILED
        error = policy.error(describe_end(error_of(told.failure))) if is_failed else None
        self.builder.finish(self.phase, output=output, error=error)

    def _leave(self, reason: str) -> None:
        for step in self._open.values():
            step.leave(reason, self.now, 0)
            self._show(step)
        self._open.clear()

    # For the host

    def is_slow(self, at: float) -> bool:
        """Whether an activity takes so long that it is worth a question; `at` in `time.monotonic` seconds."""
        return any(step.queue and at - step.since > SLOW for step in tuple(self._open.values()))

    def open_step(self, activity_id: str) -> Step | None:
        """Return an activity under way, as a step to note in what is known of it."""
        task_id = self.task_of.get(activity_id)
        for step in tuple(self._open.values()):
            if step.task_id == task_id:
                return attrs.evolve(step, metadata={})
        return None


_ENDINGS: Mapping[str, ExecutionPhase | None] = {
    "complete_workflow_execution": ExecutionPhase.COMPLETED,
    "fail_workflow_execution": ExecutionPhase.FAILED,
    "cancel_workflow_execution": ExecutionPhase.CANCELLED,
    "continue_as_new_workflow_execution": None,
}
"""The commands that end a run, and the phases that they mean; None where another run goes on."""
