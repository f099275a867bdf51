"""Secrets and innocents of files of lines: three pairs from before anybody looked at the rule, one from after it.

Who wrote the fifth has never seen it.

`== kind` begins a kind, whose lines are texts, or JSON where the kind is `payload`. `«run32»` is a secret made anew,
`«=word»` one that is as it stands, `⟦run32⟧` another random value, `⏎` a line end and `⇥` a tab; `·` is nothing, so
that no scanner takes a line for a leak.
"""

from __future__ import annotations

import base64
import json
import random
import re
import string
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

_FOLDER = Path(__file__).with_name("secret_lines")
_LETTERS = string.ascii_letters + string.digits
_OF = {
    "run": _LETTERS,
    "b": _LETTERS + "+/",
    "lett": string.ascii_letters,
    "low": string.ascii_lowercase + string.digits,
    "hex": "0123456789abcdef",
    "dig": string.digits,
    "upper": string.ascii_uppercase + "234567",
    "odd": _LETTERS + "!@#%^&*(-_=+)",
}
_PLACES = ["text", "error", "stream", "payload", "text", "name"]
_HOLE = re.compile(r"([«⟦])(?:=([^»]+)|([a-z]+(?:64line)?)(\d*))[»⟧]")


class Line(NamedTuple):
    """One line: what `Case` of the corpus takes."""

    kind: str
    place: str
    value: Any
    secret: str | None


class _Maker:
    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        self.passwords: list[Callable[[], str]] = [
            lambda: self.some(12, _LETTERS),
            lambda: self.some(6, string.ascii_lowercase) + self.some(3, string.digits) + self.some(1, "!*_+"),
            lambda: self.chance.choice(["Summer", "Winter", "Tiger", "dragon"]) + self.some(4, string.digits),
            lambda: self.some(16, _LETTERS + "-_"),
            lambda: self.some(8, string.ascii_lowercase),
            lambda: self.some(20, _LETTERS + "!*+-_."),
            lambda: self.some(24, _OF["hex"]),
        ]

    def some(self, size: int, of: str) -> str:
        return "".join(self.chance.choice(of) for _ in range(size))

    def value(self, kind: str, size: str) -> str:
        if kind in _OF:
            return self.some(int(size), _OF[kind])
        if kind == "pw":
            return self.chance.choice(self.passwords)()
        if kind == "word":
            words = ["correct-horse-battery", "blue.Monkey.lamp", "winterSnow", "open_sesame_now"]
            return self.chance.choice(words) + self.some(2, string.digits)
        if kind == "uuid":
            made = self.some(30, _OF["hex"])
            return f"{made[:8]}-{made[8:12]}-4{made[12:15]}-a{made[15:18]}-{made[18:]}"
        if kind == "jwt":
            return f"eyJhbGciOiJIUzI1NiJ9.eyJ{self.some(40, _LETTERS)}.{self.some(43, _LETTERS + '-_')}"
        return base64.b64encode(self.chance.randbytes(48)).decode()


def lines_of(name: str) -> Iterator[Line]:
    """Yield the lines of a file, each at one of the places where a runner may hand it in; always the same ones."""
    make, kind, places = _Maker(name), "", cycle(_PLACES)
    for line in (_FOLDER / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            kind = line[3:]
            continue
        secrets: list[str] = []

        def fill(hole: re.Match[str], found: list[str] = secrets) -> str:
            made: str = hole[2] or make.value(hole[3], hole[4])
            if hole[1] == "«":
                found.append(made)
            return made

        text = _HOLE.sub(fill, line.replace("·", ""))
        secret = secrets[0] if secrets and name.startswith("secrets") else None
        if kind == "payload":
            yield Line(kind, "payload", json.loads(text), secret)
            continue
        text, place = text.replace("⏎", "\n").replace("⇥", "\t"), next(places)
        if place == "name" and "\n" in text:
            place = "text"
        yield Line(kind, place, {"said": text} if place == "payload" else text, secret)
