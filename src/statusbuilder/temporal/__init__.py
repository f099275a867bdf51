"""Workflow runners on Temporal: a plugin that reports every workflow of a worker (extra `temporal`)."""

from ._builder import current
from ._fold import fold_history
from ._outside import close_status, fold_workflow, reconcile
from ._plugin import StatusPlugin
from ._progress import ActivityProgress, activity_progress
from ._resume import activity_builder, activity_ends
from ._target import Look

__all__ = [
    "ActivityProgress",
    "Look",
    "StatusPlugin",
    "activity_builder",
    "activity_ends",
    "activity_progress",
    "close_status",
    "current",
    "fold_history",
    "fold_workflow",
    "reconcile",
]
