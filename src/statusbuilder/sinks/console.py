"""The sink that shows executions in a terminal as they go (extra `console`)."""

from __future__ import annotations

import sys
from typing import IO

from typing_extensions import Unpack

from ..core.model.values import Snapshot
from ..delivery import Delivery, DeliveryOptions
from ..views import Screen, make_screen


class ConsoleSink(Delivery):
    """Shows executions in a terminal: phase, progress, running and failed tasks, an agent's text and tool calls.

    ```python
    with StatusBuilder("wex_01", sinks=[sink, ConsoleSink()]) as status:
        ...
    ```

    In a terminal it is a region at the bottom that is painted anew as long as an execution is open. What has ended
    stays above it, and so does what is printed meanwhile to `sys.stdout` and `sys.stderr`, and what handlers of logging
    write there. Anywhere else, or without rich, it is a line for each thing that happens.

    It may be shared by any number of builders. A terminal that goes away is no failure; nothing more is shown then.

    Args:
        file: where to show it; None is `sys.stderr`, so that a program's own output can still be piped.
        options: the settings of the delivery, see `DeliveryOptions`.
    """

    def __init__(self, file: IO[str] | None = None, **options: Unpack[DeliveryOptions]) -> None:
        super().__init__(_ScreenSink(make_screen(sys.stderr if file is None else file)), threads=1, **options)

    def __repr__(self) -> str:
        return "ConsoleSink()"


class _ScreenSink:
    """What the delivery calls."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def send(self, snapshot: Snapshot) -> None:
        self._screen.show(snapshot)

    def close(self) -> None:
        self._screen.close()
