"""Whose text is shown when, so that the texts of models that run at the same time never mix."""

from __future__ import annotations

from ._calls import Calls
from ._runs import Run, Scope


class Speech:
    """Brings the text of model runs into the status: each turn of a model is one message."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def listen(self, run: Run) -> None:
        """Begin with a model run.

        Where another one speaks that was started in the same place, or in another root run, that one's turn is over:
        it may have failed, of which no event tells. If it has not, it goes on in a message of its own.
        """
        run.root.models[run] = None
        speaker = None if run.scope is None else run.scope.speaker
        if speaker is not None and (speaker.parent is run.parent or speaker.root is not run.root):
            self.finish(speaker)

    def say(self, run: Run, text: str) -> None:
        """Show a piece of text, or keep it while another model speaks."""
        run.streamed = True
        scope = run.scope
        if scope is None or scope.silent:
            return
        if scope.speaker is run:
            self._calls.append(scope, text)
        elif scope.speaker is None:
            scope.speaker = run
            self._begin(scope, text)
        else:
            if not run.buffer:
                scope.waiting.append(run)
            run.buffer.append(text)

    def finish(self, run: Run) -> None:
        """End a model's turn; the next one that waits goes on."""
        run.root.models.pop(run, None)
        run.done = True
        scope = run.scope
        if scope is None or scope.speaker is not run:
            return
        self._calls.end_turn(scope)
        scope.speaker = None
        while scope.waiting and scope.speaker is None:
            following = scope.waiting.popleft()
            self._begin(scope, "".join(following.buffer))
            following.buffer.clear()
            if following.done:
                self._calls.end_turn(scope)
            else:
                scope.speaker = following

    def _begin(self, scope: Scope, text: str) -> None:
        self._calls.append(scope, f"\n\n{text}" if scope.sub_agent_id is not None and scope.spoken else text)
        scope.spoken = True
