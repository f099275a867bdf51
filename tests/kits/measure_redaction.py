"""Run the corpus through our rule and through others': how many secrets go, how many innocents stay, per kind."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from secret_corpus import Case, innocents, secrets

from statusbuilder import AgentStatusBuilder, MessageType, StatusBuilder, TaskStatus

Scrub = Callable[[Case], tuple[str, str]]
"""Takes a case, and returns what is shown of it, and what would be shown if nothing were secret."""


def ours(case: Case) -> tuple[str, str]:
    """Hand the case to builders with and without redaction."""
    return _shown(case), _shown(case, redact_keys=(), redact_text=False)


def _shown(case: Case, **options: Any) -> str:
    status = AgentStatusBuilder("ex", **options)
    if case.place == "payload":
        status.add_task("t", input=case.value)
    elif case.place == "name":
        status.add_task("t", case.value)
    elif case.place == "error":
        status.add_task("t", status=TaskStatus.IN_PROGRESS)
        status.update_task_status("t", TaskStatus.FAILED, error=RuntimeError(case.value))
    elif case.place == "stream":
        for at in range(0, len(case.value), 5):
            status.append_text(case.value[at : at + 5])
            status.snapshot()
        status.end_message()
        return status.snapshot().messages[0].content
    else:
        status.add_message(MessageType.AI, case.value)
        return status.snapshot().messages[0].content
    (task,) = status.snapshot().tasks
    return json.dumps([task.task_name, task.input, task.error], ensure_ascii=False)


def _as_json(value: object) -> Any:
    """The case's value as the others are used to it."""
    task = StatusBuilder("ex", redact_keys=(), redact_text=False)
    task.add_task("t", input=value)
    return dict(task.snapshot().tasks[0].input or {})


def sentry(case: Case) -> tuple[str, str]:
    """Let Sentry's scrubber look at an event that has the case where the SDK would put it."""
    from sentry_sdk.scrubber import EventScrubber

    def event() -> dict[str, Any]:
        return {"extra": _as_json(case.value)} if case.place == "payload" else {"logentry": {"message": case.value}}

    scrubbed = event()
    EventScrubber(recursive=True).scrub_event(scrubbed)  # type: ignore[arg-type]
    return _json(scrubbed), _json(event())


def logfire(case: Case) -> tuple[str, str]:
    """Let logfire's scrubber look at it as at an attribute."""
    from logfire._internal.scrubbing import Scrubber

    value = _as_json(case.value) if case.place == "payload" else case.value
    return _json(Scrubber([]).scrub_value(("attributes", "said"), value)[0]), _json(value)


def detect_secrets(case: Case) -> tuple[str, str]:
    """Let detect-secrets look at a file with the case in it; what it finds counts as replaced."""
    from detect_secrets import SecretsCollection
    from detect_secrets.settings import default_settings

    text = json.dumps(_as_json(case.value), indent=1) if case.place == "payload" else str(case.value)
    shown = text
    with TemporaryDirectory() as folder, default_settings():
        file = Path(folder, "case.txt")
        file.write_text(text, errors="replace")
        found = SecretsCollection()
        found.scan_file(str(file))
        for secret in (secret for secrets in found.data.values() for secret in secrets):
            shown = shown.replace(secret.secret_value or text.splitlines()[secret.line_number - 1], "*")
    return shown, text


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def right(case: Case, scrub: Scrub) -> bool:
    """Whether the secret is gone, or the innocent as it was."""
    shown, plain = scrub(case)
    return shown == plain if case.secret is None else case.secret not in shown


def wrong(cases: Iterable[Case], scrub: Scrub = ours) -> list[Case]:
    """Return the cases that come out wrong."""
    return [case for case in cases if not right(case, scrub)]


def main() -> None:
    """Print a table per kind; with `--wrong`, ours that come out wrong instead."""
    if "--wrong" in sys.argv:
        for case in wrong([*secrets(), *innocents()]):
            print(
                "MISSED  " if case.secret else "DAMAGED ", case.kind, case.place, repr(case.value), "->", ours(case)[0]
            )
        return
    scrubbers = {"statusbuilder": ours, "sentry": sentry, "logfire": logfire, "detect-secrets": detect_secrets}
    if "--ours" in sys.argv:
        scrubbers = {"statusbuilder": ours}
    for title, cases in [("secrets replaced", secrets()), ("innocents untouched", innocents())]:
        kinds: dict[str, list[Case]] = defaultdict(list)
        for case in cases:
            kinds["shape" if case.kind.startswith("shape") else case.kind].append(case)
        print(f"{title:24}{'cases':>7}" + "".join(f"{name:>16}" for name in scrubbers))
        for kind, members in [*kinds.items(), ("all", cases)]:
            shares = (sum(right(case, scrub) for case in members) / len(members) for scrub in scrubbers.values())
            print(f"{kind:24}{len(members):7}" + "".join(f"{share:16.1%}" for share in shares))
        print()


if __name__ == "__main__":
    main()
