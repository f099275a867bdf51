"""Right uses of the public API, and the types that a checker must see; checked, never run."""

from datetime import datetime, timezone
from typing import assert_type

from statusbuilder._model import ExecutionPhase, Progress, Snapshot, Task, TaskStatus, TaskType

snapshot = Snapshot("wex_01", tasks=[Task("fetch", "Fetch", TaskType.API_CALL, TaskStatus.IN_PROGRESS)])

assert_type(snapshot.phase, ExecutionPhase)
assert_type(snapshot.tasks, tuple[Task, ...])
assert_type(snapshot.progress, Progress)
assert_type(snapshot.duration, float | None)
assert_type(snapshot.task("fetch"), Task)
assert_type(snapshot.changed_since(3), tuple[Task, ...])
assert_type(Snapshot.from_dict(snapshot.to_dict()), Snapshot)
assert_type(snapshot.to_json(), str)
assert_type(snapshot.phase.is_terminal, bool)
assert_type(Task("a", "A", started_at=datetime.now(timezone.utc)).started_at, datetime | None)
