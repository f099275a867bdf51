"""Secrets inside texts: what stands after a secret key, what needs none, and tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from ._forms import BEGINS, forms_in, open_at_end, opened_on_line, table
from ._key_values import OPEN_BLOCK, SAID_OPEN, SEEN, STRONG, WEAK, Place, Span, changed_at, says_nothing, value_at
from ._suspects import HOLDERS, any_of
from ._token_shapes import open_tokens, tokens_in
from .secret_keys import WHICH, SecretKeys, words_of

_LOOK_BACK = 96
_KEY = re.compile(r"[\w.\-]+")
_ATTRIBUTE = re.compile(r"(?:key|name)=[\"']([\w.\-]{1,64})[\"']\Z", re.IGNORECASE)
_NAMED = re.compile(
    r".*(?:(?<![A-Za-z])(?:name|key|field|header|property|variable|label|ref|selector|type|param|parameter)|(?-i:(?<=[a-z])(?:Name|Key)))[\"'\\]{0,8}\s?[:=]\s?"
    r"[bu]?[\"'\\]{0,8}([\w.\-]{1,64}(?: [\w.\-]{1,64})?)[\"'\\]{0,8}[,\s]{1,24}[\"'\\]{0,8}\Z",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(r"<(?:\w{1,40}:)?\Z")
_CALLED = re.compile(r"(\w{1,64})[\"']?[\s=:]{0,3}[({]\s{0,24}[\"']?\Z")
# What is secret stands before what tells it, or lines after it.
_APART = table(r"""
form-data name="(?P<key>[\w.\-]{1,64})"\r?\n(?:[\w\-]{1,40}:[^\n]{0,80}\n)?\r?\n(?P<value>[^\r\n]+)
<value> name="(?P<key>[\w.\-]{1,64})"[^<>]{0,80}>\s{0,8}<value>(?P<value>[^<]{1,4096})</value>
alue    (?<![A-Za-z])[vV]alue["'\\]{0,4}\s?[:=]\s?\\{0,3}(["']?)(?P<value>[^"'\s,]{1,200})\\{0,3}\1[,\s]{1,8}
        ["'\\]{0,4}(?:[nN]ame|[kK]ey)["'\\]{0,4}\s?[:=]\s?["'\\]{0,4}(?P<key>[\w.\-]{1,64})
·       ["'`](?P<value>[^\s"'`]{8,200})["'`] (?:is|as|was) (?:the |my |your |our |an? )?
        (?P<key>(?:[\w\-]{1,24} )?(?:password|token|secret|key))\b
""")
_INSERT = re.compile(rf"{BEGINS}INSERT INTO [^\s(]{{1,64}} ?\(([^()]{{1,500}})\) ?VALUES ?\(")
_ITEM = re.compile(r"\s?(?:'([^'\n]*)'|[^',)\n]*),?")
_OPEN_FIELDS = (
    OPEN_BLOCK,
    re.compile(r"name=\"[\w.\-]{1,64}\"(?:\r?\n(?:[\w\-]{1,40}:?[^\n]{0,80}\n?)?\r?(?:\n[^\r\n]*)?)?\Z"),
    re.compile(r"(?<![A-Za-z])[vV]alue[\"'\\]{0,4}(?:\s?[:=][^,]{0,230},?\s{0,8}[^,\n]{0,90})?\Z"),
    re.compile(r"[\"'`][^\s\"'`]{0,200}(?:[\"'`](?: (?:(?:is|as|was|i|a|w|wa)(?: [\w\-]{0,24}){0,3})?)?)?\Z"),
    re.compile(r"(?m)^USER [^\n]{0,64}(?:\r?\n(?:331[^\n]{0,80}\r?\n)?[^\n]{0,300})?\Z"),
)
_PHRASE = re.compile(r"(?:[\w\-]{1,24} ){1,2}[\w\-]{1,24}\Z")
_SPACE = re.compile(r"[ \t]*")


@lru_cache(64)
def _ends_of_keys(entries: frozenset[str]) -> re.Pattern[str]:
    """How to find in a reversed text the signs after what may be secret keys."""
    lasts = {entry.rpartition(" ")[2].rstrip("0123456789")[::-1] for entry in entries}
    others = (word[::-1] for word in (*HOLDERS, "sig", "signature", "code", "pwd"))
    which = "|".join(word[::-1] for word in WHICH)
    junk = rf"[\"'`*\\\] \t]{{0,40}}+(?:22%)?+[\d_\- ]{{0,6}}+(?:(?:{which})[_\-]?)?"
    return re.compile(rf"(?:[:=>,|\t (]|[da]3%){junk}(?={any_of((*lasts, *others))})", re.IGNORECASE)


class SecretTexts:
    """Where the secrets of a text are, by the rule; the work is in proportion to the text."""

    def __init__(self, keys: SecretKeys) -> None:
        self._keys = keys
        self._ends = _ends_of_keys(keys.entries)

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where secrets are, in no order; they may overlap."""
        yield from self._assigned(text)
        for sign, pattern in _APART:
            for match in pattern.finditer(text) if sign in text else ():
                if self._keys.entry(match["key"]) and (sign != " " or STRONG.fullmatch(match["value"])):
                    yield match.span("value")
        for match in _INSERT.finditer(text) if "INSERT" in text else ():
            for column, value in zip(match[1].split(","), _ITEM.finditer(text, match.end()), strict=False):
                if self._keys.entry(column) and value[1] and not says_nothing(value[1][:SEEN], "password"):
                    yield value.span(1)
        yield from forms_in(text)
        yield from tokens_in(text)

    def undecided(self, text: str) -> tuple[int, bool]:
        """Return where a secret may begin, or go on, once more text follows, and whether a line's end has to tell."""
        line = text.rfind("\n") + 1
        of_line = min(self._open_on(text, line), default=len(text))
        fields = (found.start() for open_ in _OPEN_FIELDS if (found := open_.search(text)))
        start = min((of_line, *open_at_end(text), *open_tokens(text), *fields))
        return start, start == of_line

    def _open_on(self, text: str, line: int) -> Iterator[int]:
        for place in self._places(text, line, SAID_OPEN):
            yield _SPACE.match(text, place.start).end()  # type: ignore[union-attr]
        yield from opened_on_line(text, line)

    def _places(self, text: str, line: int = 0, said: re.Pattern[str] | None = None) -> Iterator[Place]:
        """Yield where keys end that are secret ones, in order; with no sign after them only before what is `said`."""
        size = len(text)
        ends = [size - match.start() for match in self._ends.finditer(text[line:][::-1])]
        for start in reversed(ends):
            if said is not None and text[start - 1] in " \t|" and not said.match(text, start):
                continue
            sign = start - (3 if text[start - 3 : start - 2] == "%" and text[start - 1] in "AaDd" else 1)
            place = self._place(text, sign, start)
            if place is not None:
                yield place

    def _assigned(self, text: str) -> Iterator[Span]:
        at = 0
        for place in self._places(text):
            if place.start < at:
                continue
            span = value_at(text, place)
            if place.sign == "," and span and self._keys.entry(text[slice(*span)][:SEEN]):
                continue
            while span is not None:
                yield span
                at = max(at, span[1])
                span = changed_at(text, span[1])

    def _place(self, text: str, sign: int, start: int) -> Place | None:
        before = text[max(0, sign - _LOOK_BACK) : sign]
        kind = text[sign]
        if kind == ">" and before[-1:] == "-":
            kind, before = ":", before[:-1]
        head = before.rstrip("\"'`*\\] \t").removesuffix("%22")
        named = _ATTRIBUTE.search(before) if kind == ">" else None
        head = head if named is None else before[: named.end(1)]
        found = _KEY.match(head[::-1])
        if found is None:
            return None
        key, prior = found[0][::-1], head[: -len(found[0])]
        last = prior[-1:]
        # As in arn:aws:secretsmanager:eu:1:secret:orders, and in an attribute of a tag.
        if last == ":" == kind or (kind == ">" and not (_TAG.search(prior) or (named and "<" in prior))):
            return None
        in_url = last in ("?", "&", "#")
        entry = self._keys.entry(key) or self._entry_around(key, head, prior, in_url)
        if not entry or (last == " " and self._keys.is_harmless(" ".join((*prior.split()[-1:], key)))):
            return None
        quoted = bool(before[len(head) :].strip())
        doubtful = kind == ":" and not quoted
        if doubtful and last == " " and prior[-2:-1].islower():  # in a sentence
            doubtful = not entry.startswith("pass") and " " not in entry
        else:
            doubtful = doubtful and key.lower() in WEAK
        before = prior.rstrip("\"'\\bBu ")[-1:]
        return Place(entry, key, kind, start, quoted, in_url and kind == "=", doubtful, before)

    def _entry_around(self, key: str, head: str, prior: str, in_url: bool) -> str:
        """The entry where the key alone is none: in a URL, `name="password" value="x"`, words with spaces."""
        last = "".join(words_of(key)[-1:])
        if last == "pwd" or (in_url and last in ("sig", "signature", "code", "key")):
            return last
        if last in HOLDERS:
            named = _NAMED.match(prior.rpartition("\n\n")[2]) or _CALLED.search(prior)
            apart = named and "\n" in prior[named.end(1) :] and key.lower() not in HOLDERS
            return self._keys.entry(named[1]) if named and not apart else ""
        phrase = _PHRASE.search(head) if prior[-1:] == " " else None
        if phrase is not None:
            entry = self._keys.entry(phrase[0])
            return entry if " " in entry or key.isdigit() else ""
        return ""
