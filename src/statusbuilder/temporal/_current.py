"""For the code of workflows: their builder."""

from __future__ import annotations

from temporalio import workflow

from ..core.builder import StatusBuilder
from ._builder import RunBuilder
from ._names import RUN


def current() -> StatusBuilder:
    """Return the builder of the running workflow, for tasks of its own.

    ```python
    status = statusbuilder.temporal.current()
    with status.task("approve", "Approval by a person", task_type=TaskType.APPROVAL):
        await workflow.wait_condition(lambda: self.approved)
    ```

    It is the plugin's: the workflow's end ends the execution, and the plugin delivers it, so do neither close it nor
    use it as a context manager. Wrong calls are logged and ignored, because an exception would stop the workflow.
    Where the workflow is not reported, it is there all the same and shown to nobody.

    Raises:
        RuntimeError: It is not called in a workflow, or its worker has no `StatusPlugin`.
    """
    if not workflow.in_workflow():
        raise RuntimeError("statusbuilder.temporal.current() is for the code of workflows; this is none.")
    find = workflow.extern_functions().get(RUN)
    if find is None:
        raise RuntimeError(
            "This worker has no StatusPlugin; add it, with enabled=False where nothing is to be reported."
        )
    builder: RunBuilder = find().builder
    builder.catch_up()
    return builder
