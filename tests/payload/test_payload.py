"""Anything becomes JSON that a Struct can hold, without secrets, of a bounded size, at a bounded cost."""

from __future__ import annotations

import base64
import bisect
import dataclasses
import enum
import ipaddress
import json
import random
import sqlite3
import sys
import uuid
import zoneinfo
from collections import ChainMap, Counter, OrderedDict, UserDict, UserString, defaultdict, deque
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar

import attrs
import payload_values as values
import pytest
from google.protobuf import descriptor_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from statusbuilder.core.model.frozen import JsonArray, JsonObject
from statusbuilder.payload.policy import PayloadPolicy
from statusbuilder.payload.redact import Redaction

POLICY = PayloadPolicy()
SMALL = PayloadPolicy(max_bytes=512)


def size_of(payload: object) -> int:
    return len(json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode())


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    YES = "yes"


class Flags(enum.Flag):
    A = 1
    B = 2


@attrs.define
class Line:
    item: str
    count: int = 1


@dataclasses.dataclass
class Basket:
    kind: ClassVar[str] = "basket"
    seed: dataclasses.InitVar[int]
    lines: list[Line]
    password: str = "hunter2"


class OldModel:
    """Has what tells a pydantic v1 model."""

    __fields__: ClassVar[dict[str, object]] = {"a": None}

    def dict(self) -> dict[str, int]:
        return {"a": 1}


class NewModel:
    """Has what tells a pydantic v2 model."""

    def model_dump(self) -> dict[str, object]:
        return {"a": 1, "type": "ai", "tool_calls": [{"name": "f", "args": {"api_key": "x"}}]}


class Scalar0:
    """Has what tells a NumPy scalar."""

    shape = ()
    tolist = None

    def item(self) -> float:
        return 1.5


class Array:
    """Has what tells a NumPy array."""

    def __init__(self, *shape: int) -> None:
        self._shape = shape

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def tolist(self) -> list[float]:
        return [0.5] * self._shape[0]


class Fine:
    """A value of one's own that says nothing about itself."""


def _generator() -> Iterator[int]:
    yield 1


PLUS_ONE = timezone(timedelta(hours=1))


# Tables and no parameters, because pytest wants to show parameters, which the hostile ones resent.
VALUES: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (5, 5),
    (2**53, 2**53),
    (2**53 + 1, "9007199254740993"),
    (-(2**53) - 1, "-9007199254740993"),
    (10**5000, "<integer of 16610 bits>"),
    (1.5, 1.5),
    (float("nan"), "NaN"),
    (float("inf"), "Infinity"),
    (float("-inf"), "-Infinity"),
    (complex(1, 2), "(1+2j)"),
    ("ä", "ä"),
    ("a\ud800b", "a\ufffdb"),
    (values.Number(5), 5),
    (values.Number(2**60), str(2**60)),
    (values.Real(1.5), 1.5),
    (values.Text("abc"), "abc"),
    (UserString("abc"), "abc"),
    (b"caf\xc3\xa9", "café"),
    (b"\xff\xfe", "<2 bytes>"),
    (b"\x00\x01", "<2 bytes>"),
    (bytearray(b"abc"), "abc"),
    (memoryview(b"abcd")[::2], "ac"),
    (Colour.RED, "red"),
    (Level.HIGH, 3),
    (Word.YES, "yes"),
    (Flags.A | Flags.B, 3),
    (values.Hue.RED, [1, 2]),
    (datetime(2026, 1, 16, 9, 30, 0, 123456, timezone.utc), "2026-01-16T09:30:00.123456Z"),
    (datetime(2026, 1, 16, 9, 30, tzinfo=PLUS_ONE), "2026-01-16T09:30:00+01:00"),
    (datetime(2026, 1, 16, 9, 30), "2026-01-16T09:30:00"),
    (date(2026, 1, 16), "2026-01-16"),
    (time(9, 30), "09:30:00"),
    (timedelta(minutes=1, milliseconds=500), 60.5),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Decimal("19.99"), 19.99),
    (Decimal("20.00"), 20.0),
    (Decimal("0.1234567890123456789"), "0.1234567890123456789"),
    (Decimal("1E+999999"), "1E+999999"),
    (Decimal("NaN"), "NaN"),
    (Fraction(1, 3), "1/3"),
    (Path("a") / "b", str(Path("a/b"))),
    (PurePosixPath("/x/\udcff"), "/x/\ufffd"),
    (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
    (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
    (zoneinfo.ZoneInfo("UTC"), "UTC"),
    (ValueError("no orders"), "ValueError: no orders"),
    (ValueError(), "ValueError"),
    (values.Broken(), "Broken"),
    (ValueError, "<class ValueError>"),
    (_generator, "<function _generator>"),
    (len, "<builtin_function_or_method object>"),
    (Fine(), "<Fine object>"),
    (values.Refusing(), "<Refusing object>"),
    (values.FalseClass(), "<FalseClass object>"),
    (values.Unnamed(), "<Unnamed object>"),
    (values.Unnamed, "<class Unnamed>"),
    (Scalar0(), 1.5),
    (Array(2), [0.5, 0.5]),
    (Array(1000, 1000), "<Array 1000 x 1000>"),
    ([1, (2, [3])], [1, [2, [3]]]),
    (values.Listing([1]), [1]),
    (deque([1, 2]), [1, 2]),
    (range(3), [0, 1, 2]),
    ({"b": 1, "a": 2}.keys(), ["b", "a"]),
    ({"b": 1}.items(), [["b", 1]]),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset({"b", "a", 1, None, ("x",)}), [1, "a", "b", ["x"], None]),
    ((), []),
]


@pytest.mark.parametrize("case", range(len(VALUES)))
def test_values(case: int) -> None:
    """Each type becomes the JSON value that the docstring names, wrapped where it is no mapping."""
    value, expected = VALUES[case]
    payload = POLICY.payload(value)
    assert payload == {"value": expected}
    assert type(payload["value"]) is type(expected) or isinstance(payload["value"], JsonArray)


MAPPINGS: list[tuple[Any, Any]] = [
    ({}, {}),
    ({"a": {"b": [1]}}, {"a": {"b": [1]}}),
    (values.Dictionary(a=1), {"a": 1}),
    (OrderedDict(a=1), {"a": 1}),
    (defaultdict(list, a=[1]), {"a": [1]}),
    (Counter("aab"), {"a": 2, "b": 1}),
    (MappingProxyType({"a": 1}), {"a": 1}),
    (ChainMap({"a": 1}, {"a": 2, "b": 3}), {"a": 1, "b": 3}),
    (UserDict(a=1), {"a": 1}),
    (SimpleNamespace(a=1), {"a": 1}),
    (values.Point(1, 2), {"x": 1, "y": 2}),
    (Line("tea", 2), {"item": "tea", "count": 2}),
    (values.Order(7), {"number": 7}),
    (Basket(0, [Line("tea")]), {"lines": [{"item": "tea", "count": 1}], "password": "[redacted]"}),
    (OldModel(), {"a": 1}),
    (NewModel(), {"a": 1, "type": "ai", "tool_calls": [{"name": "f", "args": {"api_key": "[redacted]"}}]}),
    (values.Dumping(), {"shown": 1}),
]


@pytest.mark.parametrize("case", range(len(MAPPINGS)))
def test_mappings(case: int) -> None:
    """Mappings and objects with fields become objects, at any depth immutable ones."""
    value, expected = MAPPINGS[case]
    payload = POLICY.payload(value)
    assert payload == expected
    assert type(payload) is JsonObject
    assert all(type(item) in (int, str, JsonArray, JsonObject) for item in payload.values())


def test_rows_of_sqlite3() -> None:
    """A row, which has keys but is no Mapping, becomes an object."""
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    row = connection.execute("SELECT 1 AS a, 'x' AS b").fetchone()
    connection.close()
    assert POLICY.payload(row) == {"a": 1, "b": "x"}


def test_protobuf_messages() -> None:
    """Messages become objects by field name, enums by name, well-known types what they stand for."""
    struct = struct_pb2.Struct()
    struct.update({"a": [1, None, {"b": True}], "password": "x"})
    field = descriptor_pb2.FieldDescriptorProto(name="x", type=descriptor_pb2.FieldDescriptorProto.TYPE_INT64)
    assert POLICY.payload(struct) == {"a": [1, None, {"b": True}], "password": "[redacted]"}
    assert POLICY.payload(struct.fields["a"].list_value) == {"value": [1, None, {"b": True}]}
    assert POLICY.payload(struct_pb2.Value()) == {"value": None}
    assert POLICY.payload(descriptor_pb2.DescriptorProto(name="M", field=[field])) == {
        "name": "M",
        "field": [{"name": "x", "type": "TYPE_INT64"}],
    }
    assert POLICY.payload(timestamp_pb2.Timestamp(seconds=1)) == {"value": "1970-01-01T00:00:01Z"}
    assert POLICY.payload(duration_pb2.Duration(seconds=1, nanos=500_000_000)) == {"value": 1.5}
    assert POLICY.payload(wrappers_pb2.Int64Value(value=2**60)) == {"value": str(2**60)}
    assert POLICY.payload(descriptor_pb2.FileOptions()) == {}


def test_repeated_protobuf_enums() -> None:
    """Repeated enums are lists of names, and a number without a name stays one."""
    location = descriptor_pb2.FieldOptions(targets=[descriptor_pb2.FieldOptions.TARGET_TYPE_FILE])
    assert POLICY.payload(location) == {"targets": ["TARGET_TYPE_FILE"]}


def test_numpy() -> None:
    """NumPy scalars are numbers, arrays lists, large arrays a short text."""
    np = pytest.importorskip("numpy")
    given_ = {"i": np.int64(3), "f": np.float64(0.5), "b": np.bool_(True), "s": np.str_("x"), "l": np.longdouble(1.5)}
    given_ |= {
        "d": np.datetime64("2026-01-01"),
        "a": np.arange(4).reshape(2, 2),
        "z": np.array(5),
        "n": np.array([np.nan]),
    }
    given_ |= {
        "big": np.zeros((1000, 1000)),
        "ns": np.datetime64("2026-01-01T00:00:00.000000001"),
        "token": np.int64(5),
    }
    assert POLICY.payload(given_) == {
        "i": 3, "f": 0.5, "b": True, "s": "x", "l": 1.5, "d": "2026-01-01", "a": [[0, 1], [2, 3]], "z": 5, "n": ["NaN"],
        "big": "<ndarray 1000 x 1000>", "ns": "2026-01-01T00:00:00.000000001", "token": 5,
    }  # fmt: skip


def test_pydantic() -> None:
    """Models are dumped, without a warning about a field of another type; one that holds itself ends there."""
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", a=(int, 1), key=(pydantic.SecretStr, "x"), more=(list[Any], []))
    made = model(key=pydantic.SecretStr("x"))
    assert POLICY.payload(made) == {"a": 1, "key": "<SecretStr object>", "more": []}
    made.a = "of another type"
    made.more.append(made)
    payload = POLICY.payload(made)
    assert (payload["a"], payload["key"]) == ("of another type", "<SecretStr object>")
    assert "<cycle>" in json.dumps(payload)


def test_langchain_messages() -> None:
    """A message keeps its type, content and tool calls."""
    messages = pytest.importorskip("langchain_core.messages")
    call = {"name": "f", "args": {"x": 1}, "id": "1", "type": "tool_call"}
    payload = POLICY.payload(messages.AIMessage("hi", tool_calls=[call]))
    assert (payload["type"], payload["content"], payload["tool_calls"]) == ("ai", "hi", [call])


def test_keys() -> None:
    """Keys become strings, and no value is lost where two become equal."""
    payload = POLICY.payload({1: "a", "1": "b", "1 (2)": "c", None: 1, 1.5: 3, (1, "x"): 4, Colour.RED: 5})
    assert payload == {"1": "a", "1 (2)": "b", "1 (2) (2)": "c", "null": 1, "1.5": 3, '[1,"x"]': 4, "red": 5}
    many = POLICY.payload({(lambda: 0): number for number in range(100)})
    assert len(many) == 100


def test_cycles_and_sharing() -> None:
    """A container in itself becomes a short text; one that is only there twice is shown twice."""
    shared = [1]
    cyclic: dict[str, Any] = {"a": shared, "b": shared}
    cyclic["self"] = cyclic
    assert POLICY.payload(cyclic) == {"a": [1], "b": [1], "self": "<cycle>"}


def nested(kinds: str) -> Any:
    made: Any = 1
    for kind in reversed(kinds):
        made = {"k": made} if kind == "d" else [made]
    return made


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def parses_in_a_struct(payload: JsonObject) -> bool:
    struct = struct_pb2.Struct()
    struct.update(payload)
    return struct_pb2.Struct.FromString(struct.SerializeToString()) == struct


@given(st.text("dl", min_size=1, max_size=60))
def test_depth(kinds: str) -> None:
    """At most 24 containers lie in each other, which any mixture of dicts and lists parses with."""
    payload = POLICY.payload(nested(kinds))
    wrapped = kinds if kinds[0] == "d" else "d" + kinds
    assert depth_of(payload) == min(24, len(wrapped))
    assert ("nested too deep>" in json.dumps(payload)) == (len(wrapped) > 24)
    assert parses_in_a_struct(payload)


def test_iterators_are_not_consumed() -> None:
    """A generator given as output is still whole afterwards."""
    generator = _generator()
    assert POLICY.payload({"rows": generator}) == {"rows": "<generator object>"}
    assert list(generator) == [1]


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_values_under_secret_keys() -> None:
    """Whatever is no number, boolean or None is replaced, nested and in objects too."""
    payload = POLICY.payload(
        {
            "password": "x",
            "api_key": ["x"],
            "secret": {"a": 1},
            "cookie": b"x",
            "authorization": uuid.UUID(int=1),
            "passwd": Fine(),
            "token": 5,
            "max_token": Decimal(5),
            "id_token": Decimal("0.12345678901234567890"),
            "csrf": Fraction(1, 3),
            "access_token": None,
            "credential": True,
            "jwt": values.Refusing(),
            "page_token": "next",
            "a": [{"accessToken": "x", Colour.RED: 1}],
        }
    )
    hidden = dict.fromkeys(["password", "api_key", "secret", "cookie", "authorization", "passwd", "jwt"], "[redacted]")
    shown = {"token": 5, "max_token": 5.0, "access_token": None, "credential": True, "page_token": "next"}
    shown |= {"id_token": "0.12345678901234567890", "csrf": "1/3"}
    assert payload == {**hidden, **shown, "a": [{"accessToken": "[redacted]", "red": 1}]}


def test_known_values_everywhere() -> None:
    """Known values are replaced in texts, keys, bytes, errors and the texts of objects."""
    policy = PayloadPolicy(Redaction(values=["hunter2", "77"]))
    payload = policy.payload(
        {"hunter2": "my hunter2", "b": b"hunter2", "e": ValueError("hunter2"), 77: Path("/hunter2")}
    )
    assert payload == {
        "[redacted]": "my [redacted]",
        "b": "[redacted]",
        "e": "ValueError: [redacted]",
        "[redacted] (2)": "/[redacted]",
    }
    assert policy.text("is hunter2") == "is [redacted]"


def test_a_group_of_errors_says_what_is_in_it() -> None:
    """Of an exception group the first errors are shown, in their order, those of inner groups too."""
    inner = ExceptionGroup("inner", [OSError("no route"), KeyError("k")])
    assert POLICY.error(ExceptionGroup("outer", [ValueError("bad row"), inner])) == (
        "ExceptionGroup: outer (2 sub-exceptions): ValueError: bad row; "
        "ExceptionGroup: inner (2 sub-exceptions): OSError: no route; KeyError: 'k'"
    )
    many = POLICY.error(ExceptionGroup("many", [ValueError(number) for number in range(1000)]))
    assert many.endswith("ValueError: 3; ValueError: 4")
    deep: Exception = ValueError("core")
    for _ in range(500):
        deep = ExceptionGroup("deep", [deep])
    assert len(POLICY.error(deep)) < 1000


def test_secrets_in_errors() -> None:
    """Errors are redacted as texts are."""
    assert POLICY.error(ConnectionError("postgres://u:p@h/x")) == "ConnectionError: postgres://[redacted]@h/x"
    assert POLICY.error("Bearer abc") == "Bearer [redacted]"


SECRET = "hunter2-and-a-long-finish"


@pytest.mark.parametrize("container", ["text", "list", "dict", "plain"])
def test_a_cut_shows_no_part_of_a_secret(container: str) -> None:
    """Wherever the cut falls, neither head nor tail has a piece of a secret."""
    policy = PayloadPolicy(Redaction(values=[SECRET]), max_bytes=600)
    for offset in range(0, 2 * len(SECRET), 3):
        text = "x" * offset + f"{SECRET} Bearer {SECRET}-token " * 4_000
        if container == "plain":
            shown = policy.text(text)
        else:
            shown = json.dumps(policy.payload({"text": text, "list": [text], "dict": {"a": 1, "b": text}}[container]))
        assert "[redacted]" in shown
        for length in range(4, len(SECRET) + 1):
            assert SECRET[:length] not in shown
            assert SECRET[-length:] not in shown


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["ab" * 1000, {"value": "ab" * 1000}, values.Text("ab" * 1000)], ids=["str", "dict", "sub"]
)
def test_a_cut_text(value: object) -> None:
    """A payload that is only a text keeps its beginning and end as they are, and tells the full size."""
    payload = SMALL.payload(value)
    assert payload.keys() == {"truncated", "bytes", "head", "tail"}
    assert (payload["truncated"], payload["bytes"]) == (True, 2012)
    assert set(payload["head"]) | set(payload["tail"]) == {"a", "b"}
    assert size_of(payload) >= 490
    assert len(json.dumps(payload)) <= 512


def test_a_cut_structure() -> None:
    """A structure keeps the beginning and the end of its JSON text."""
    payload = SMALL.payload({"first": list(range(500)), "last": "end"})
    assert payload["head"].startswith('{"first":[0,1,2,3')
    assert payload["tail"].endswith('498,499],"last":"end"}')
    assert payload["bytes"] >= 1000


def test_a_structure_that_is_too_large_only_when_measured() -> None:
    """What only turns out too large as JSON text, because of escapes or digits, is cut as well, its size exact."""
    given_ = {"a": "\x00" * 100}
    payload = SMALL.payload(given_)
    assert payload["bytes"] == size_of(given_)
    assert payload["head"].startswith('{"a":"\\u0000')
    assert size_of(payload) <= 512


def test_the_tail_of_what_cannot_be_walked_backwards() -> None:
    """Where the end is out of reach, the tail says so."""
    assert SMALL.payload(values.Endless())["tail"] == "…"
    assert SMALL.payload({"s": set(range(1000))})["tail"] == '{"s":"…"}'


def test_a_payload_that_fits_is_not_cut() -> None:
    """Just under the limit everything stays, one byte more is cut."""
    assert SMALL.payload({"a": "x" * (512 - 8)}) == {"a": "x" * (512 - 8)}
    assert SMALL.payload({"a": "x" * (512 - 7)})["truncated"] is True


def test_a_policy_needs_some_room() -> None:
    """A limit in which nothing fits is a wrong call."""
    with pytest.raises(ValueError, match="max_payload_bytes is 100"):
        PayloadPolicy(max_bytes=100)


@pytest.mark.parametrize("text", ["x" * 1000, "é" * 1000, "\x00" * 1000, "a\U0001f600" * 500])
def test_long_texts(text: str) -> None:
    """A long text keeps beginning and end within the limit."""
    shown = SMALL.text(text)
    assert len(shown.encode()) <= 512
    assert shown[:80] == text[:80]
    assert shown[-40:] == text[-40:]
    assert "characters cut" in shown


TEXTS: list[tuple[Any, Any]] = [
    (None, ""),
    ("a", "a"),
    (5, "5"),
    (True, "true"),
    ([{"type": "text", "text": "hi"}], '[{"type":"text","text":"hi"}]'),
    (b"abc", "abc"),
    (values.Text("abc"), "abc"),
    (Colour.RED, "red"),
    (Fine(), "<Fine object>"),
    ("\ud800", "\ufffd"),
]


@pytest.mark.parametrize("case", range(len(TEXTS)))
def test_texts(case: int) -> None:
    """Anything may be given as a text."""
    value, text = TEXTS[case]
    assert POLICY.text(value) == text


ERRORS: list[tuple[Any, Any]] = [
    ("no", "no"),
    (ValueError("no"), "ValueError: no"),
    (ValueError(), "ValueError"),
    (KeyError("a"), "KeyError: 'a'"),
    (ValueError, "ValueError"),
    (values.Broken("x"), "Broken"),
    (values.Broken, "Broken"),
    (ValueError(values.Text("abc")), "ValueError"),
    (values.Unnamed(), "<Unnamed object>"),
    (values.Unnamed, "<class Unnamed>"),
    ({"code": 5}, '{"code":5}'),
    (None, ""),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors(case: int) -> None:
    """An exception is its class and text; anything else is a text."""
    value, text = ERRORS[case]
    assert POLICY.error(value) == text


# --- cost, and whatever comes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda endless: endless, lambda endless: {"a": [endless]}])
def test_the_work_is_in_proportion_to_what_is_kept(wrap: Any) -> None:
    """Containers without end are asked for little more than is kept, also when they are nested or shared."""
    for endless in (values.Endless(), values.EndlessSequence()):
        assert SMALL.payload(wrap(endless))["truncated"] is True
        assert endless.asked <= 512
    inner = values.EndlessSequence()
    assert SMALL.payload(wrap(values.EndlessSequence(inner)))["truncated"] is True
    assert inner.asked <= 512


def test_shared_containers_do_not_multiply() -> None:
    """Twenty levels of two references each are a million leaves, of which only what is kept is visited."""
    made: Any = values.EndlessSequence()
    first = made
    for _ in range(20):
        made = [made, made]
    assert SMALL.payload(made)["truncated"] is True
    assert first.asked <= 512


def test_long_texts_are_only_sliced() -> None:
    """Of a text only the ends are looked at: a subclass that raises when it is read otherwise is no obstacle."""
    assert POLICY.payload(values.Text(values.BIG_TEXT))["bytes"] == 100_000_012
    assert len(POLICY.text(values.BIG_TEXT)) <= POLICY.max_bytes


def test_a_deep_stack() -> None:
    """Whatever is left of the stack, down to the call itself, a payload comes back."""
    value = nested("dl" * 10)

    def at(depth: int, take: Callable[[object], object]) -> object:
        return take(value) if depth == 0 else at(depth - 1, take)

    def there_is(depth: int) -> bool:
        try:
            return at(depth, lambda value: value) is value
        except RecursionError:
            return False

    deepest = bisect.bisect_left(range(sys.getrecursionlimit()), True, key=lambda depth: not there_is(depth)) - 1
    shown = [at(depth, POLICY.payload) for depth in range(deepest - 120, deepest + 1)]
    assert shown[0] == value
    assert shown[-1] == {"value": "<object>"}
    assert {type(payload) for payload in shown} == {JsonObject}


def test_an_interrupt_passes() -> None:
    """Ctrl-C while a payload is read is not swallowed."""

    class Interrupted(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        POLICY.payload({"a": Interrupted()})
    with pytest.raises(KeyboardInterrupt):
        POLICY.error(Interrupted())


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes() | st.decimals(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
)


@given(JSON_LIKE, st.integers(128, 2000))
def test_any_payload(value: object, max_bytes: int) -> None:
    """Any payload is valid JSON within its limit, parses in a Struct, and is left as it is the second time."""
    policy = PayloadPolicy(max_bytes=max_bytes)
    payload = policy.payload(value)
    assert size_of(payload) <= max_bytes
    assert parses_in_a_struct(payload)
    assert policy.payload(payload) == payload
    assert len(policy.text(value).encode()) <= max_bytes


def test_twenty_thousand_payloads() -> None:
    """Deep, cyclic, shared, endless and hostile payloads: none raises, each is valid and within its limit.

    Each interpreter gets others; `nox -s fuzz` goes on for longer.
    """
    chance = random.Random(20260116 + sys.version_info.minor)
    policy = PayloadPolicy(Redaction(values=[SECRET]), max_bytes=1000)
    for number in range(20_000):
        value = values.value(chance)
        payload = policy.payload(value)
        assert type(payload) is JsonObject
        assert size_of(payload) <= 1000
        assert depth_of(payload) <= 24
        if number % 10 == 0:
            assert len(policy.text(value).encode()) <= 1000
            policy.error(value)
            assert parses_in_a_struct(payload)


# --- images -----------------------------------------------------------------------------------------------------------

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(42_992)).decode()
IMAGES = [
    (f"data:image/png;base64,{PNG}", "[image/png, 43 kB]"),
    (PNG, "[image/png, 43 kB]"),
    (f"see ![plot](data:image/svg+xml;charset=utf-8;base64,{PNG}) above", "see ![plot]([image/svg+xml, 43 kB]) above"),
    (base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(500)).decode(), "[image/jpeg, 504 B]"),
    (f"data:application/pdf;base64,{PNG * 100}", "[application/pdf, 4.3 MB]"),
]


@pytest.mark.parametrize("case", range(len(IMAGES)))
@pytest.mark.parametrize("policy", [POLICY, SMALL], ids=["large", "small"])
def test_images_are_told_instead_of_cut(case: int, policy: PayloadPolicy) -> None:
    """Of a data URL, and of an image in base64, the type and the size are shown, however little room there is."""
    image, shown = IMAGES[case]
    assert policy.payload({"content": [{"image_url": image}]}) == {"content": [{"image_url": shown}]}
    assert policy.text(image) == shown


@pytest.mark.parametrize("text", ["data:image/png;base64,iVBORw0KGgo=", "iVBORw0KGgo and " + "more " * 50])
def test_texts_that_only_look_a_little_like_images_stay(text: str) -> None:
    """A short data URL, and prose, are shown as they are."""
    assert POLICY.text(text) == text
