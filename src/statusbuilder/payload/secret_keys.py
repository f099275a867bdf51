"""Under which keys a value is a secret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_ENTRIES = """
authorization auth basic_auth proxy_auth bearer bearer_token jwt pat csrf xsrf credential credentials creds password
passwords passwd pw pass pass_word _pwd passphrase passcode requirepass masterauth storepass keypass passwort kennwort
contraseña senha mot_de_passe totp psk password_confirm password_confirmation confirm_password otp otp_code
one_time_code verification_code security_code security_answer pin cvv cvc ssn mnemonic seed_phrase recovery_phrase
secret secrets client_secret secret_key_base secret_string recovery_code recovery_codes backup_codes
authorization_code token access_token access_tokens refresh_token refresh_tokens auth_token auth_tokens id_token
session_token api_tokens =tokens _key api_key api_keys access_key access_keys account_key secret_key private_key
private_keys signing_key encryption_key master_key session_key ssh_key unseal_key unseal_keys auth_key app_key
app_secret license_key saml_response _key_data _key_pem cookie cookies session sid sessid sessionid jsessionid
connection_string kubeconfig dockerconfigjson fa_code mfa_code sonar_login sess
"""
_OTHER_TOKENS = """
page watch next continuation pagination cache offset paging cursor scroll sync delta watch idempotency request task
lock lease fencing resume stop skip cancel cancellation checkpoint first last max min total per bos eos pad unk mask
cls sep special input output prompt completion
"""
_OTHER_KEYS = """
sort primary foreign partition public pub order cache idempotency dedup dedupe deduplication routing message object
group unique shard range hash row lookup issue project translation metric config feature map dict json lock
file blob natural surrogate composite index search state join merge event registry hot business correlation concurrency
workflow execution run task job step node parent child column property attribute attr field label tag param parameter
context redis s3 bucket item record entity document data sub arrow shortcut host locale theme i18n setting the a an no
any each missing unknown invalid duplicate same new old first last next by
"""
_OTHERS = "public_key_token factor_auth old_pwd first_pass second_pass single_pass boarding_pass image_pull_secrets"


class _Defaults(tuple[str, ...]):
    """Words whose name is enough where a signature shows them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "DEFAULT_SECRET_KEYS"


DEFAULT_SECRET_KEYS: tuple[str, ...] = _Defaults(_ENTRIES.split())
"""Words, or consecutive words, that make the value under a key a secret where the key ends in them.

`_key` needs another word before it, `=tokens` has to be the whole key.
"""
DEFAULT_HARMLESS_KEYS: tuple[str, ...] = (
    *(f"{word}_token" for word in _OTHER_TOKENS.split()),
    *(f"{word}_key" for word in _OTHER_KEYS.split()),
    *_OTHERS.split(),
)
"""Consecutive words at the end of a key that say that it is about another kind of token or key."""


def set_of(words: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(words.split())


# Entries that are found, too, at the end of a word that goes on before them, as in PGPASSWORD.
_WITHIN_A_WORD = ("password", "passwd", "token", "sessid", "pwd", "apikey", "storepass", "keypass")
WHICH = ("old", "new", "prod", "test", "live")
"""Which one of several, not what is told about it."""
# What a key begins with that asks whether there is a secret, or whether one is to be used.
_ASKS = set_of("is has no needs requires require without enable disable allow ask show forgot skip use")
_MOST_CACHED = 4096
_LONGEST = 96

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Za-z])|(?<=[A-Z])(?=[0-9]|[A-Z][a-z])")
_NO_WORD = re.compile(r"[\W_]+")


def words_of(key: str) -> list[str]:
    """Return a key's words in lower case; one ends at what is no letter or digit, and before a capital of camelCase."""
    return [word for word in _NO_WORD.split(_CAMEL.sub(" ", key).lower()) if word]


class SecretKeys:
    """The rule for keys."""

    def __init__(self, keys: Iterable[str], harmless: Iterable[str]) -> None:
        self._entries: set[str] = set()
        self._alone, self._following = set[str](), set[str]()
        for entry in keys:
            words = words_of(entry)
            self._entries |= {" ".join(words), "".join(words)} - {""}
            kinds = {"=": self._alone, "_": self._following}
            if entry[:1] in kinds:
                kinds[entry[0]].add(" ".join(words))
        phrases = [words_of(phrase) for phrase in harmless]
        self._harmless = {" ".join(words) for words in phrases} - self._entries
        self._endings = tuple(word for word in _WITHIN_A_WORD if word in self._entries)
        self._harmless_endings = tuple("".join(words) for words in phrases if words and words[-1] in self._endings)
        self._known = lru_cache(_MOST_CACHED)(self._entry)
        self._longest = max((phrase.count(" ") + 1 for phrase in (*self._entries, *self._harmless)), default=0)

    @property
    def entries(self) -> frozenset[str]:
        """The entries, their words parted by spaces, and also joined."""
        return frozenset(self._entries)

    def is_harmless(self, phrase: str) -> bool:
        """Whether two words say that it is another kind of token or key."""
        return " ".join(words_of(phrase)[-2:]) in self._harmless

    def entry(self, key: str) -> str:
        """Return the entry that makes a key a secret one, its words parted by spaces; "" when none does."""
        return self._known(key[-_LONGEST:]) if self._entries else ""

    def _entry(self, key: str) -> str:
        words = words_of(key)
        while words and (words[-1].isdigit() or (words[-1] in (*WHICH, "value") and len(words) > 1)):
            words.pop()
        if words and words[0] in _ASKS:
            return ""
        for size in range(min(self._longest, len(words)), 0, -1):
            phrase = " ".join(words[-size:])
            if phrase in self._harmless:
                return ""
            if phrase in self._entries:
                more = len(words) > size
                if not (phrase in self._alone and more) and not (phrase in self._following and not more):
                    return phrase
        last = words[-1] if words else ""
        if last.endswith(self._endings) and last not in self._following and not last.endswith(self._harmless_endings):
            return next(word for word in self._endings if last.endswith(word))
        return ""
