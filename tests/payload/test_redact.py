"""What is secret, in keys, in texts and in texts that arrive in pieces."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statusbuilder.payload.redact import DEFAULT_SECRET_KEYS, REACH, SECRET, Redaction
from statusbuilder.payload.redact_stream import StreamRedactor

DEFAULT = Redaction()


@pytest.mark.parametrize("entry", [entry for entry in DEFAULT_SECRET_KEYS if entry[0] not in "_="])
def test_each_default_entry_is_found_in_every_spelling(entry: str) -> None:
    """An entry matches as snake_case, kebab-case, camelCase, constant, with words around it and with digits."""
    words = entry.split("_")
    camel = words[0] + "".join(word.title() for word in words[1:])
    spellings = [entry, entry.upper(), "-".join(words).title(), camel, camel[0].upper() + camel[1:], "".join(words)]
    spellings += [f"db_{entry}", f"{entry}_old", f"x.{entry}", f"my {entry}", f"{entry}2"]
    assert [spelling for spelling in spellings if not DEFAULT.is_secret_key(spelling)] == []


@pytest.mark.parametrize(
    "key",
    [
        "db_password",
        "API-Key",
        "apiKey",
        "X-Api-Key",
        "accessToken",
        "client_secret",
        "OAuth2Token",
        "stripe_key",
        "MYSQL_PWD",
        "PGPASSWORD",
        "tokens",
        "openai_key_prod",
        "Set-Cookie",
        "APIKey",
    ],
)
def test_secret_keys(key: str) -> None:
    """Keys that end in a listed entry are secret, whatever stands before it, and one of several, too."""
    assert DEFAULT.is_secret_key(key)


@pytest.mark.parametrize(
    "key",
    [
        "tokens_used",
        "author",
        "secretary",
        "max_tokens",
        "token_count",
        "tokenizer",
        "cookiecutter",
        "keys",
        "api",
        "key",
        "pwd",
        "OLDPWD",
        "code",
        "sort_key",
        "partitionKey",
        "password_changed_at",
        "private_key_path",
        "session_id",
        "sessionId",
        "secret_name",
        "token_type",
        "password_policy",
        "password_hint",
        "prompt_tokens",
        "time_to_first_token",
        "requires_auth",
        "no-auth",
    ],
)
def test_keys_with_similar_words_are_no_secrets(key: str) -> None:
    """No match are a part of a word, counters, other kinds of keys, and what is told about a secret."""
    assert not DEFAULT.is_secret_key(key)


@pytest.mark.parametrize(
    "key",
    ["page_token", "next_page_token", "nextPageToken", "NextToken", "continuation-token", "cursor_token", "token_type"],
)
def test_tokens_that_are_no_secrets(key: str) -> None:
    """Tokens of pagination and words about a token keep their values."""
    assert not DEFAULT.is_secret_key(key)


def test_lists_can_be_changed_and_switched_off() -> None:
    """A list of one's own replaces the default, beats the harmless phrases, and an empty one matches nothing."""
    assert Redaction(keys=["pageToken"]).is_secret_key("next_page_token")
    assert not Redaction(keys=["pin"]).is_secret_key("password")
    assert not Redaction(keys=()).is_secret_key("password")
    assert Redaction(harmless_keys=()).is_secret_key("page_token")
    assert Redaction(keys="pin").is_secret_key("card_pin")
    assert Redaction(keys="k").clean("db_k: Hunter22") == "db_k: [redacted]"
    assert Redaction(keys="auth2key").clean("auth_2_key: Hunter22") == "auth_2_key: [redacted]"


def test_many_different_keys_take_bounded_memory() -> None:
    """The memory of keys seen is bounded."""
    redaction = Redaction()
    for number in range(10_000):
        assert redaction.short_key(f"password {number}") == (f"password {number}", SECRET)
    assert redaction.short_key.cache_info().currsize <= 4096  # type: ignore[attr-defined]


def test_many_different_lines_take_bounded_memory() -> None:
    """The memory of lines seen is bounded, too."""
    redaction = Redaction()
    redaction.clean("one\nline")
    tracemalloc.start()
    try:
        for _ in range(20_000):
            said = f"line {''.join(random.choices('abcdef', k=70))}\n"
            assert redaction.clean(said) == said
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("call with Bearer xyz failed", "call with Bearer [redacted] failed"),
        ("bearer eyJhbGciOi.JIUz-I1_Ni/+=, retry", "bearer [redacted], retry"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': 'Bearer [redacted]'}"),
        ('{\\"authorization\\": \\"Bearer abc\\"}', '{\\"authorization\\": \\"Bearer [redacted]\\"}'),
        ("Authorization: Basic dXNlcjpwYXNz and", "Authorization: Basic [redacted] and"),
        ("AUTHORIZATION=Custom abc def\nnext", "AUTHORIZATION=[redacted]\nnext"),
        ("postgres://user:pass@db.example:5432/x", "postgres://[redacted]@db.example:5432/x"),
        ("redis://:pass@h1 and redis://:word@h2", "redis://[redacted]@h1 and redis://[redacted]@h2"),
        ("amqp://me@example.com:p@ss@host/v", "amqp://[redacted]@host/v"),
        ("postgres://u:pa/ss@host/db", "postgres://[redacted]@host/db"),
        ("git clone https://ghp_abc@github.com/x", "git clone https://[redacted]@github.com/x"),
        ("GET /x?api_key=abc&page=2", "GET /x?api_key=[redacted]&page=2"),
        ("https://b.example/o?X-Amz-Signature=ab12&n=1", "https://b.example/o?X-Amz-Signature=[redacted]&n=1"),
    ],
)
def test_secrets_in_texts(text: str, clean: str) -> None:
    """Bearer tokens, authorization headers and credentials in URLs are replaced, the text around them stays."""
    assert DEFAULT.clean(text) == clean
    assert DEFAULT.clean(clean) == clean
    assert Redaction(text=False).clean(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the bearer of bad news",
        "Bearer token is missing",
        "Bearer authentication failed.",
        "http://localhost:8080/a@b",
        "ssh://git@github.com/x",
        "see https://example.com/a?page_token=5&limit=10",
        "a user: name@example.com",
        "authorization is required",
        "Größe: 3 m",
    ],
)
def test_texts_without_secrets_stay(text: str) -> None:
    """What only looks a little like a secret is left alone."""
    assert DEFAULT.clean(text) == text


def test_known_values() -> None:
    """Known values are replaced wherever they are, longest and overlapping ones as one."""
    redaction = Redaction(values=["hunter2", "hunter2-long", "long-tail", "abab", " padded\n", "", None], text=False)  # type: ignore[list-item]
    assert (
        redaction.clean("xhunter2y hunter2-long-tail ababab padded") == "x[redacted]y [redacted] [redacted] [redacted]"
    )
    assert Redaction(values="hunter2").clean("hunter2") == "[redacted]"


def test_known_values_are_not_shown() -> None:
    """The repr of a Redaction does not give away what it hides."""
    assert "hunter2" not in repr(Redaction(values=["hunter2"]))


def test_surrogates_are_replaced() -> None:
    """A pair of surrogates becomes its character, a lone one U+FFFD."""
    assert DEFAULT.clean("a\ud83d\ude00b\ud800c") == "a\U0001f600b\ufffdc"


@pytest.mark.parametrize(
    "text",
    [
        "://" + ":" * 300_000,
        "a" * 300_000 + "://",
        "bearer " * 40_000,
        "bearer" + " " * 300_000,
        "authorization:" * 20_000,
        "Authorization: " + "'" * 300_000,
        "?a" * 100_000,
        "?a=&" * 70_000,
        "http://" * 40_000,
    ],
)
def test_no_text_makes_the_search_slow(text: str) -> None:
    """Texts that tempt a regular expression to backtrack are searched in linear time (minutes otherwise)."""
    assert len(DEFAULT.clean(text)) > 0


# --- streams ----------------------------------------------------------------------------------------------------------

SECRETS = ["hunter2-xyz", "abab", "sk-0123456789"]
FRAGMENTS = [
    "Bearer xyz-123",
    "bearer of news",
    "Authorization: Basic dXNlcjpwYXNz next",
    "Authorization: Basic\n dXNlcjpwYXNz next",
    "postgres://user:p@ss@host/db",
    "https://ghp_abc@github.com/x",
    "see ?api_key=abc&page_token=1",
    "authorization: Custom abc def\nrest",
    "hunter2-xyz",
    "hunter2-",
    "sk-0123",
    "sk-0123456789",
    "ababab",
    "ba",
    "Bear",
    "plain words",
    "://",
    "\U0001f600 ü",
]


def _pieces(text: str, chance: random.Random) -> Iterator[str]:
    at = 0
    while at < len(text):
        size = chance.randint(1, 9)
        yield text[at : at + size]
        at += size


@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=6),
    st.sampled_from(["", " ", ", "]),
    st.randoms(use_true_random=False),
)
def test_a_streamed_text_is_redacted_as_a_whole_one(parts: list[str], between: str, chance: random.Random) -> None:
    """Wherever a text is cut into pieces, the result is that of the whole text."""
    redaction = Redaction(values=SECRETS)
    text = between.join(parts)
    stream = StreamRedactor(redaction)
    shown = "".join([*(stream.feed(piece) for piece in _pieces(text, chance)), stream.finish()])
    assert shown == redaction.clean(text)


def test_a_secret_on_the_line_after_its_scheme_is_held() -> None:
    """Between the scheme of an Authorization header and its secret there may be a line end."""
    stream = StreamRedactor(DEFAULT)
    shown = [stream.feed(piece) for piece in ["Authorization: Basic\n", "dXNlcjp", "wYXNz", " next"]]
    assert "".join(shown) == "Authorization: Basic\n[redacted] next"


@pytest.mark.parametrize("redaction", [DEFAULT, Redaction(text=False), Redaction(values=["zq-secret"])])
def test_plain_text_passes_at_once(redaction: Redaction) -> None:
    """A piece that belongs to no secret is not held back."""
    stream = StreamRedactor(redaction)
    for piece in ["We", " can", " now", ", I", " think", ".", " Größe", ": 4", " a", "/", "b?", " "]:
        assert stream.feed(piece) == piece


def test_what_is_held_comes_out_once_it_is_no_secret() -> None:
    """The beginning of a known value is held only as long as it may become one."""
    stream = StreamRedactor(Redaction(values=["hunter2"]))
    assert stream.feed("the hun") == "the "
    assert stream.feed("ter") == ""
    assert stream.feed("s") == "hunters"
    assert stream.feed(" hunter") == " "
    assert stream.feed("2!") == "[redacted]!"
    assert stream.feed("hunt") == ""
    assert stream.finish() == "hunt"


def test_an_open_url_at_the_end_of_a_long_piece_is_held() -> None:
    """The size of a piece does not matter, only what its end may be."""
    stream = StreamRedactor(DEFAULT)
    words = "word " * 10_000
    assert stream.feed(words + "postgres://user:pass") == words + "postgres"
    assert stream.feed("word@host ") == "://[redacted]@host "


def test_a_secret_without_end_is_never_shown_and_not_kept() -> None:
    """A bearer token longer than what is held is dropped to its end."""
    stream = StreamRedactor(DEFAULT)
    shown = stream.feed("Bearer ")
    for _ in range(5_000):
        shown += stream.feed("abc")
        assert stream._size <= 5_000
    shown += stream.feed(" done")
    assert shown + stream.finish() == "Bearer [redacted] done"


def test_a_run_without_end_is_let_go() -> None:
    """A URL that never ends does not hold the text back for ever."""
    stream = StreamRedactor(DEFAULT)
    shown = stream.feed("data://")
    for _ in range(5_000):
        shown += stream.feed("ab")
    assert shown.startswith("data://ababab")


def test_overlapping_known_values_without_end() -> None:
    """A value that begins again within itself leaks no part, however long that goes on."""
    stream = StreamRedactor(Redaction(values=["aa"], text=False))
    shown = "".join(stream.feed("a") for _ in range(100)) + stream.feed("b") + stream.finish()
    assert shown.replace("[redacted]", "") == "b"


def test_a_finished_stream_can_be_used_again() -> None:
    """After finish, nothing of the text before counts."""
    stream = StreamRedactor(DEFAULT)
    assert stream.feed("Bearer ") + stream.finish() == "Bearer "
    assert stream.feed("xyz") == "xyz"


def test_surrogates_in_a_stream_are_replaced() -> None:
    """What a stream shows is valid Unicode."""
    assert StreamRedactor(Redaction(text=False)).feed("\ud800x") == "\ufffdx"


def test_the_reach_covers_the_longest_known_value() -> None:
    """Margins are as wide as the longest secret, and nothing is searched where there is nothing to find."""
    assert Redaction(values=["x" * 20_000]).reach == 20_000
    assert DEFAULT.reach == REACH
    assert Redaction(text=False).reach == 0
