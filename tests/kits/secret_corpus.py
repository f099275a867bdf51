"""Secrets and innocents as they occur, each with its kind; all of them are made up here, and made anew by a seed."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import attrs
from secret_lines import lines_of

_LETTERS = string.ascii_letters + string.digits
_chance = random.Random(1814)


@attrs.frozen
class Case:
    """One value that a runner hands in: where, what kind of thing it is, and the secret in it, None in an innocent."""

    kind: str
    place: str
    """payload, text, error, stream or name."""
    value: Any
    secret: str | None = None


def _run(size: int, of: str = _LETTERS) -> str:
    return "".join(_chance.choice(of) for _ in range(size))


def _hex(size: int) -> str:
    return _run(size, "0123456789abcdef")


def _password() -> str:
    """A password as people and generators make them."""
    makers: list[Callable[[], str]] = [
        lambda: _run(12),
        lambda: _run(5, string.ascii_lowercase) + _run(3, string.digits) + _run(1, "!*_+"),
        lambda: _run(1, string.ascii_uppercase) + _run(6, string.ascii_lowercase) + _run(4, string.digits),
        lambda: _hex(24),
        lambda: _run(10) + "/" + _run(9) + "+" + _run(6) + "==",
        lambda: "-".join(_run(5, string.ascii_lowercase) for _ in range(3)) + _run(2, string.digits),
    ]
    return _chance.choice(makers)()


def _jwt() -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return ".".join([part({"alg": "HS256", "typ": "JWT"}), part({"sub": _run(8), "exp": 1}), _run(43, _LETTERS + "-_")])


def _basic() -> str:
    return base64.b64encode(f"{_run(6, string.ascii_lowercase)}:{_run(9)}".encode()).decode()


def _pem(what: str = "RSA PRIVATE KEY", end: str = "\n") -> str:
    lines = [_run(64, _LETTERS + "+/") for _ in range(3)]
    return end.join([f"-----BEGIN {what}-----", *lines, _run(20) + "==", f"-----END {what}-----"])


_UPPER = string.ascii_uppercase + string.digits
_VENDORS: dict[str, Callable[[], str]] = {
    "aws key id": lambda: "AKIA" + _run(16, string.ascii_uppercase + "234567"),
    "aws session key id": lambda: "ASIA" + _run(16, string.ascii_uppercase + "234567"),
    "github pat": lambda: "ghp_" + _run(36),
    "github app": lambda: _chance.choice(["ghs_", "gho_", "ghu_", "ghr_"]) + _run(36),
    "github fine-grained": lambda: "github_pat_" + _run(22) + "_" + _run(59),
    "gitlab": lambda: "glpat-" + _run(20, _LETTERS + "-_"),
    "gitlab runner": lambda: "glrt-" + _run(20),
    "slack bot": lambda: f"xoxb-{_run(12, string.digits)}-{_run(12, string.digits)}-{_run(24)}",
    "slack user": lambda: f"xoxp-{_run(11, string.digits)}-{_run(32)}",
    "slack app": lambda: f"xapp-1-A{_run(10, _UPPER)}-{_run(13, string.digits)}-{_hex(64)}",
    "google key": lambda: "AIza" + _run(35, _LETTERS + "-_"),
    "google oauth": lambda: "ya29." + _run(60, _LETTERS + "-_"),
    "google client secret": lambda: "GOCSPX-" + _run(28),
    "openai": lambda: "sk-" + _run(48),
    "openai project": lambda: "sk-proj-" + _run(60, _LETTERS + "-_"),
    "anthropic": lambda: "sk-ant-api03-" + _run(80, _LETTERS + "-_") + "AA",
    "stripe": lambda: _chance.choice(["sk_live_", "sk_test_", "rk_live_"]) + _run(24),
    "stripe webhook": lambda: "whsec_" + _run(32),
    "npm": lambda: "npm_" + _run(36),
    "pypi": lambda: "pypi-AgEIcHlwaS5vcmc" + _run(60, _LETTERS + "-_"),
    "hugging face": lambda: "hf_" + _run(34),
    "sendgrid": lambda: f"SG.{_run(22)}.{_run(43, _LETTERS + '-_')}",
    "digitalocean": lambda: "dop_v1_" + _hex(64),
    "shopify": lambda: "shpat_" + _hex(32),
    "twilio": lambda: "SK" + _hex(32),
    "databricks": lambda: "dapi" + _hex(32),
    "vault": lambda: "hvs." + _run(90, _LETTERS + "-_"),
    "grafana": lambda: f"glsa_{_run(32)}_{_hex(8)}",
    "telegram": lambda: f"{_run(10, string.digits)}:AA{_run(33, _LETTERS + '-_')}",
    "linear": lambda: "lin_api_" + _run(40),
    "notion": lambda: "ntn_" + _run(46),
    "atlassian": lambda: "ATATT3xFfGF0" + _run(60, _LETTERS + "-_"),
    "groq": lambda: "gsk_" + _run(52),
    "docker": lambda: "dckr_pat_" + _run(27),
    "langsmith": lambda: f"lsv2_pt_{_hex(32)}_{_hex(10)}",
    "postman": lambda: f"PMAK-{_hex(24)}-{_hex(34)}",
    "new relic": lambda: "NRAK-" + _run(27, _UPPER),
    "mailgun": lambda: "key-" + _hex(32),
    "jwt": _jwt,
    "azure client secret": lambda: f"{_run(3)}8Q~{_run(34)}",
    "age": lambda: "AGE-SECRET-KEY-1" + _run(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
}

_SECRET_KEYS = [
    "password",
    "passwd",
    "db_password",
    "DB_PASS",
    "userPassword",
    "PGPASSWORD",
    "MYSQL_PWD",
    "REDIS_PASSWORD",
    "smtp_pass",
    "root-password",
    "pass",
    "new_password",
    "old_password",
    "passphrase",
    "ssh_passphrase",
    "secret",
    "client_secret",
    "clientSecret",
    "CLIENT_SECRET",
    "app.secret",
    "webhook_secret",
    "jwt_secret",
    "SECRET_KEY",
    "token",
    "access_token",
    "accessToken",
    "refresh_token",
    "id_token",
    "auth_token",
    "authtoken",
    "csrftoken",
    "csrf_token",
    "X-CSRF-Token",
    "xsrf_token",
    "bot_token",
    "SLACK_TOKEN",
    "GITHUB_TOKEN",
    "GITHUB_PAT",
    "pat",
    "bearer_token",
    "session_token",
    "x-amz-security-token",
    "api_key",
    "apiKey",
    "API-Key",
    "X-Api-Key",
    "apikey",
    "OPENAI_API_KEY",
    "OPENAI_KEY",
    "stripe_key",
    "sendgridKey",
    "AWS_SECRET_ACCESS_KEY",
    "accountKey",
    "encryption_key",
    "private_key",
    "privateKey",
    "signing_key",
    "master_key",
    "ssh_key",
    "service_key",
    "license_key",
    "authorization",
    "Proxy-Authorization",
    "auth",
    "basic_auth",
    "cookie",
    "Set-Cookie",
    "cookies",
    "session",
    "sessionid",
    "PHPSESSID",
    "JSESSIONID",
    "sid",
    "credentials",
    "creds",
    "aws_credentials",
    "kubeconfig",
    "dockerconfigjson",
    ".dockerconfigjson",
    "otp",
    "otp_code",
    "pin",
    "card_pin",
    "cvv",
    "ssn",
    "jwt",
    "csrf",
    "api_tokens",
    "access_tokens",
    "tokens",
    "connection_string",
    "login_password",
    "password2",
    "password_1",
    "wifi_pwd",
    "vault_token",
]

# Each has {s} where the secret is.
_TEXTS: dict[str, list[str]] = {
    "KEY=value": [
        "DB_PASSWORD={s}",
        "export OPENAI_API_KEY={s}",
        "starting with PGPASSWORD={s} psql -h db",
        "GITHUB_TOKEN={s} REGION=eu-1 make deploy",
        "env: API_KEY='{s}' DEBUG=1",
        'set MYSQL_PWD="{s}" first',
        "level=error user=ann password={s} attempt=3",
        "connect(host=db, password={s}, port=5432) failed",
        "AWS_SECRET_ACCESS_KEY = {s}",
        "the job ran with sessionid={s};",
        "csrftoken={s}; Path=/",
        "username=ann&password={s}&remember=1",
        "login failed (otp={s})",
    ],
    "option": [
        "psql --password={s} -h db",
        "ran: deploy --token {s} --env prod",
        "cmd exited 1: tool --api-key={s}",
        "tool --api-key '{s}' --verbose",
        "helm upgrade --set auth.password={s} web",
        "docker run -e DB_PASS={s} image",
        'sync --client-secret="{s}"',
        "mysql --host=db --password={s}",
        "java -Ddb.password={s} -jar app.jar",
    ],
    "curl": [
        "curl -u ann:{s} https://api.example.com/v1",
        "curl --user ann:{s} https://api.example.com",
        "curl -H 'Authorization: Bearer {s}' https://api.example.com",
        'curl -H "X-Api-Key: {s}" https://api.example.com',
        "curl -d 'grant_type=password&client_secret={s}' https://id.example.com/token",
        "curl -b 'sessionid={s}' https://example.com",
    ],
    "key: value": [
        "password: {s}",
        "db:\n  user: app\n  password: {s}\n  port: 5432",
        "api_key: {s}\nregion: eu",
        "token: '{s}'",
        'client_secret: "{s}"',
        "  - secret: {s}",
        "the server said: Password: {s}",
        "X-Auth-Token: {s}",
        "Connecting, api-key: {s}, region: eu",
        "Cookie: theme=dark; sessionid={s}",
        "Set-Cookie: sid={s}; Path=/; HttpOnly",
        "kubeconfig: {s}",
        "auth: {s}",
    ],
    "JSON in a text": [
        '{"user": "ann", "password": "{s}"}',
        'body was {"access_token":"{s}","expires_in":3600}',
        '{"db": {"host": "h", "passwd": "{s}"}}',
        'request {\\"api_key\\": \\"{s}\\"} refused',
        '{"headers": {"X-Api-Key": "{s}"}}',
        '[{"name": "DB_PASSWORD", "value": "{s}"}]',
        '{\n  "client_secret": "{s}",\n  "id": 3\n}',
        '{"outer": "{\\\\\\"token\\\\\\": \\\\\\"{s}\\\\\\"}"}',
    ],
    "repr": [
        "{'user': 'ann', 'password': '{s}'}",
        "Settings(host='db', password='{s}', port=5432)",
        "<Client api_key={s} region=eu>",
        "Config(token={s}, debug=False)",
        "KeyError in {'headers': {'x-api-key': '{s}'}}",
        "[('user', 'ann'), ('password', '{s}')]",
        "[(b'x-api-key', b'{s}'), (b'accept', b'*/*')]",
        "['tool', '--password', '{s}', 'run']",
        "namespace(user='ann', secret='{s}')",
        "Credentials(access_key='x1', secret_key='{s}')",
        "call(url, auth=('ann', '{s}')) raised",
        "OrderedDict([('client_secret', '{s}')])",
        "environ({'HOME': '/root', 'DB_PASSWORD': '{s}'})",
    ],
    "XML and INI": [
        "<password>{s}</password>",
        '<add key="ApiKey" value="{s}"/>',
        '<user name="ann" password="{s}"/>',
        "<ns:Token>{s}</ns:Token>",
        "[db]\nuser = ann\npassword = {s}\n",
        "spring.datasource.password={s}",
        "//registry.example.com/:_authToken={s}",
        "machine api.example.com login ann password {s}",
        '<entry key="password">{s}</entry>',
        "requirepass = {s}\nsecret_key = {s}",
    ],
    "connection string": [
        "postgresql://app:{s}@db.internal:5432/orders",
        "redis://:{s}@cache:6379/0",
        "mongodb+srv://app:{s}@cluster.example.net/?retryWrites=true",
        "amqp://guest:{s}@mq/vhost",
        "Server=db;Database=o;User Id=sa;Password={s};Encrypt=true",
        "Data Source=h;User ID=sa;Pwd={s};",
        "host=db user=app password={s} dbname=o",
        "DefaultEndpointsProtocol=https;AccountName=x;AccountKey={s};EndpointSuffix=core",
        "Endpoint=sb://x/;SharedAccessKeyName=root;SharedAccessKey={s}",
        "jdbc:mysql://db/o?user=app&password={s}",
        "could not translate host of mysql+pymysql://root:{s}@db/o",
    ],
    "URL": [
        "https://ann:{s}@git.example.com/x.git",
        "GET https://api.example.com/v1?api_key={s}&page=2",
        "https://api.example.com/v1?access_token={s}",
        "https://blob.example.net/c/f?sv=2024&sig={s}",
        "https://app.example.com/cb?code={s}&state=9",
        "https://app.example.com/cb#access_token={s}&token_type=bearer",
        "https://s3.example.com/b/f?X-Amz-Algorithm=A&X-Amz-Signature={s}",
        "wss://stream.example.com/?token={s}",
        "callback to /login?client_secret={s} failed",
        "https://{s}@git.example.com/x.git",
        "https://example.com/reset?password_reset_token={s}",
    ],
    "code": [
        "password = '{s}'",
        'const apiKey = "{s}";',
        'String password = "{s}";',
        "password => {s}",
        "'client_secret' => '{s}',",
        'token := "{s}"',
        "os.environ['API_KEY'] = '{s}'",
        "Config(api_key=SecretStr('{s}'))",
        "ENV API_KEY={s}",
        "$env:API_KEY='{s}'",
        'assert password == "{s}"',
    ],
    "command": [
        "sshpass -p {s} ssh host",
        "redis-cli -a {s} ping",
        "mysql -u root -p{s} orders",
        "docker login -u ann -p {s} registry.example.com",
        "ALTER USER ann WITH PASSWORD '{s}'",
        "CREATE USER ann IDENTIFIED BY '{s}'",
        "msbuild /p:Password={s}",
    ],
    "two words": [
        "API key: {s}",
        "Access Token: {s}",
        "the vault token: {s}",
        "Client secret: {s}",
        "your password: {s}",
    ],
    "encoded": ["body=%7B%22password%22%3A%22{s}%22%7D", "next=https%3A%2F%2Fx.example%2F%3Ftoken%3D{s}"],
    "header": [
        "Authorization: Bearer {s}",
        "sent Authorization: token {s} and got 401",
        "'Authorization': 'Bearer {s}'",
        '"authorization": "ApiKey {s}"',
        "request with bearer {s} was refused",
        "x-api-key: {s}",
        "Proxy-Authorization: Basic {s}",
        "X-Vault-Token: {s}\nAccept: */*",
        "headers={'Authorization': 'Token {s}'}",
    ],
}
_IN_PROSE = [
    "using {s} now",
    "401 for {s}: invalid",
    '"{s}"',
    "found {s}, which was revoked.",
    "https://x.example/hook/{s}",
    "clone failed ({s})",
    "export X={s}",
]
_PLACES = ["text", "error", "stream", "payload", "text", "name"]


def secrets() -> list[Case]:
    """Return the cases in which something secret has to go; always the same ones."""
    _chance.seed(1814)
    written = (Case(*line) for name in (f"secrets-{number}.txt" for number in range(1, 6)) for line in lines_of(name))
    return [*_secret_payloads(), *_secret_texts(), *_secret_shapes(), *written]


def _secret_payloads() -> Iterator[Case]:
    for key in _SECRET_KEYS:
        value = _password()
        yield Case("key", "payload", {"name": "job", key: value, "n": 3}, value)
    deep: list[tuple[str, Callable[[str], Any]]] = [
        ("nested", lambda s: {"a": [{"b": {"Password": s}}]}),
        ("nested", lambda s: {"credentials": {"user": "ann", "what": s}}),
        ("nested", lambda s: [{"x": ({"token": s},)}]),
        ("nested", lambda s: {"cookies": [s, "b"]}),
        ("nested", lambda s: {"auth": ["ann", s]}),
        ("bytes", lambda s: {"password": s.encode()}),
        ("bytes", lambda s: {"body": f'{{"password": "{s}"}}'.encode()}),
        ("bytes", lambda s: {"body": f"user=ann&client_secret={s}".encode()}),
        ("bytes", lambda s: {"raw": bytearray(f"X-Api-Key: {s}\r\n".encode())}),
        ("bytes", lambda s: {b"api_key": s}),
        ("pair", lambda s: {"name": "password", "value": s}),
        ("pair", lambda s: {"env": [{"name": "DB_PASSWORD", "value": s}, {"name": "HOME", "value": "/root"}]}),
        ("pair", lambda s: {"attributes": [{"key": "api_key", "value": {"stringValue": s}}]}),
        ("pair", lambda s: {"Key": "client_secret", "Value": s}),
        ("pair", lambda s: {"value": s, "name": "X-Api-Key"}),
        ("pair", lambda s: {"field": "passwd", "value": s}),
        ("pair", lambda s: {"header": "Authorization", "value": s}),
        ("header tuple", lambda s: {"headers": [("x-api-key", s), ("accept", "*/*")]}),
        ("header tuple", lambda s: {"headers": [(b"authorization", b"Basic " + s.encode()), (b"host", b"x")]}),
        ("header tuple", lambda s: {"headers": [["X-Auth-Token", s], ["Host", "x"]]}),
        ("header tuple", lambda s: (("cookie", f"a={s}"), ("host", "x"))),
        ("header tuple", lambda s: {"params": [("user", "ann"), ("password", s)]}),
        ("header tuple", lambda s: {"items": {"password": s}.items()}),
        ("argument list", lambda s: ["tool", "--password", s, "run"]),
        ("argument list", lambda s: {"args": ["tool", f"--password={s}", "run"]}),
        ("argument list", lambda s: {"cmd": ("deploy", "--api-key", s)}),
        ("argument list", lambda s: {"argv": ["curl", "-u", f"ann:{s}", "https://x.example"]}),
        ("argument list", lambda s: {"env": [f"DB_PASSWORD={s}", "HOME=/root"]}),
        ("argument list", lambda s: {"args": ["-e", f"API_TOKEN={s}"]}),
        ("argument list", lambda s: ["--client-secret", s]),
        ("key holds it", lambda s: {f"password={s}": 1}),
        ("key holds it", lambda s: {"by_url": {f"redis://:{s}@cache:6379": "up"}}),
        ("repr", lambda s: {"e": ValueError(f"bad config: {{'password': '{s}'}}")}),
        ("JSON in a text", lambda s: {"body": json.dumps({"client_secret": s})}),
        ("JSON in a text", lambda s: {"body": json.dumps({"inner": json.dumps({"password": s})})}),
        ("JSON in a text", lambda s: {"body": json.dumps({"a": {"apiKey": s}}, indent=2)}),
    ]
    for kind, make in deep:
        for _ in range(2):
            value = _password()
            yield Case(kind, "payload", make(value), value)


def _secret_texts() -> Iterator[Case]:
    places = cycle(_PLACES)
    for kind, templates in _TEXTS.items():
        for template in templates:
            for _ in range(2):
                value = _basic() if "Basic {s}" in template else _password()
                if kind in ("connection string", "URL"):
                    value = value.replace("/", "%2F").replace("=", "%3D")
                yield _text(kind, next(places), template.replace("{s}", value), value)


def _secret_shapes() -> Iterator[Case]:
    places = cycle(_PLACES)
    for kind, make in _VENDORS.items():
        for template in _chance.sample(_IN_PROSE, 2):
            value = make()
            yield _text(f"shape: {kind}", next(places), template.replace("{s}", value), value)
    for what in ("RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY", "PGP PRIVATE KEY BLOCK"):
        for end in ("\n", "\\n"):
            block = _pem(what, end)
            yield _text("PEM", next(places), f"key is {block} and done", block.split(end)[2])
    cut = _pem()[:150]
    yield Case("PEM", "text", f"cut: {cut}", cut.split("\n")[1])


def _text(kind: str, place: str, text: str, secret: str | None = None) -> Case:
    return Case(kind, place, {"said": text} if place == "payload" else text, secret)


_INNOCENT_VALUES: dict[str, list[dict[str, Any]]] = {
    "another token": [
        {key: "CAESBQj3-" + str(number)}
        for number, key in enumerate(
            [
                "page_token",
                "next_page_token",
                "nextPageToken",
                "NextToken",
                "continuation_token",
                "continuationToken",
                "sync_token",
                "nextSyncToken",
                "idempotency_token",
                "request_token",
                "client_request_token",
                "task_token",
                "taskToken",
                "lock_token",
                "resume_token",
                "resumeToken",
                "cursor_token",
                "stop_token",
                "eos_token",
                "bos_token",
                "pad_token",
                "pagination_token",
                "skip_token",
                "first_token",
                "pageToken",
                "next-token",
                "ContinuationToken",
            ]
        )
    ],
    "another key": [
        {key: "orders-" + str(number)}
        for number, key in enumerate(
            [
                "sort_key",
                "sortKey",
                "primary_key",
                "foreign_key",
                "partition_key",
                "partitionKey",
                "public_key",
                "order_key",
                "cache_key",
                "key",
                "keys",
                "idempotency_key",
            ]
        )
    ],
    "told about it": [
        {key: value}
        for key, value in {
            "password_changed_at": "2026-01-16T09:30:00Z",
            "token_expires_at": "2026-01-16T10:30:00Z",
            "secret_created_at": "2026-01-01",
            "last_password_change_at": "2025-12-24",
            "private_key_path": "/etc/ssl/app.key",
            "ssh_key_file": "~/.ssh/id_ed25519",
            "cookie_path": "/shop",
            "secret_path": "kv/data/app",
            "token_file": "/var/run/token",
            "api_key_id": "key-17",
            "secret_id": "s-17",
            "session_id": "chat-42",
            "token_id": "t-42",
            "access_key_id": "main",
            "credential_id": "c-1",
            "secret_name": "orders-db",
            "secretName": "orders-db",
            "cookie_name": "theme",
            "key_name": "deploy",
            "api_key_name": "ci",
            "token_name": "ci",
            "auth_name": "ann",
            "token_type": "bearer",
            "tokenType": "Bearer",
            "auth_type": "oidc",
            "secret_type": "Opaque",
            "credential_type": "service account",
            "password_status": "expired",
            "token_status": "active",
            "session_status": "open",
            "password_policy": "at least 12 characters",
            "cookie_policy": "strict",
            "token_url": "https://id.example.com/token",
            "auth_url": "https://id.example.com/auth",
            "token_endpoint": "https://id.example.com/t",
            "auth_endpoint": "/oauth2",
            "api_key_header": "X-Api-Key",
            "auth_header": "X-Auth",
            "token_count": "1,024",
            "secret_version": "v3",
            "password_length": "12",
            "auth_method": "oauth2",
            "auth_provider": "okta",
            "session_name": "standup",
            "session_type": "interactive",
            "token_limit": "8k",
            "secret_ref": "vault:orders",
            "password_hint": "street you grew up in",
            "auth_mode": "none",
        }.items()
    ],
    "counts and flags": [
        {"tokens": 1042, "cost": 0.2},
        {"max_tokens": 512},
        {"usage": {"prompt_tokens": 10, "completion_tokens": 12, "total_tokens": 22}},
        {"input_tokens": 40, "output_tokens": 2},
        {"token": 5},
        {"password": None},
        {"auth": True},
        {"has_password": True},
        {"secret": False},
        {"tokens": [101, 2023, 102]},
        {"tokens": {"input": 12, "output": 30}},
        {"session": 3},
        {"pin": 4},
        {"max_tokens": "512"},
        {"prompt_tokens": "12"},
        {"time_to_first_token": "0.3 s"},
        {"total_tokens": "many"},
    ],
    "similar words": [
        {"author": "Ann Müller"},
        {"authority": "DE"},
        {"authors": ["A", "B"]},
        {"secretary": "Bob"},
        {"tokenizer": "cl100k"},
        {"monkey": "capuchin"},
        {"keyboard": "de"},
        {"passenger": "Ann"},
        {"passed": "12 of 13"},
        {"compass": "NNE"},
        {"bypass": "left"},
        {"pinned": "yes"},
        {"spin": "up"},
        {"shopping": "milk"},
        {"sides": "a, b"},
        {"inside": "box"},
        {"patch": "1.2"},
        {"path": "/tmp/x"},
        {"pattern": "a+"},
        {"assigned": "ann"},
        {"design": "v2"},
        {"sessions": "4"},
        {"keyword": "sale"},
        {"hotkey": "ctrl+k"},
        {"turkey": "roast"},
        {"credits": "12"},
        {"accredited": "yes"},
        {"code": "E42"},
        {"country_code": "DE"},
        {"cwd": "/srv/app"},
        {"pwd": "/srv/app"},
        {"status": "passed"},
        {"region": "eu-central-1"},
        {"position": "12,40"},
    ],
    "names of secrets": [
        {"required": ["username", "password"]},
        {"fields": ["user", "token", "note"]},
        {"missing": "password"},
        {"reason": "secret"},
        {"name": "password", "type": "string"},
        {"columns": ["id", "api_key"]},
        {"scopes": ["token:read", "secret:write"]},
        {"kind": "Secret", "metadata": {"name": "orders-db"}},
        {"args": ["--verbose", "--password-file", "/run/pw"]},
        {"args": ["tool", "--no-auth", "run"]},
        {"name": "colour", "value": "red"},
        {"key": "size", "value": "xl"},
        {"name": "page_token", "value": "CAES"},
        {"headers": [["Accept", "*/*"], ["Host", "x.example"]]},
        {"order": [("name", "asc"), ("key", "desc")]},
    ],
    "other keys": [
        {"auth_url": "https://x"},
        {"password_hash_algorithm": "bcrypt"},
        {"token_bucket": "b"},
        {"secret_count": "3"},
        {"has_secret": "yes"},
        {"tokens_used": "12"},
        {"session_duration": "3h"},
        {"cookie_consent": "all"},
        {"key_type": "rsa"},
        {"author": "x"},
        {"authors": "x"},
        {"authenticated_user": "ann"},
        {"credentials_path": "/x"},
        {"credential_provider": "aws"},
        {"pin_code_length": "4"},
        {"passport": "x"},
        {"pass_rate": "99"},
        {"passes": "3"},
        {"access_key_age": "3d"},
        {"api_key_count": "3"},
        {"apiKeyName": "ci"},
        {"session_token_expiry": "3"},
        {"signature": "f(x)"},
        {"sig": "SIGTERM"},
        {"code": "E1"},
        {"zip_code": "1"},
        {"dict_key": "x"},
        {"row_key": "x"},
        {"keyName": "x"},
        {"object_key": "a/b"},
        {"s3_key": "a/b"},
        {"translation_key": "a.b"},
        {"issue_key": "P-1"},
        {"project_key": "P"},
        {"routing_key": "a.b"},
        {"message_key": "m"},
        {"lock_key": "l"},
        {"group_key": "g"},
        {"hash_key": "h"},
        {"range_key": "r"},
        {"unique_key": "u"},
        {"license": "MIT"},
        {"token_id": "x"},
        {"token_name": "x"},
        {"oauth_provider": "x"},
        {"auth_required": "yes"},
        {"is_secret": "no"},
        {"patch": "x"},
        {"pathname": "x"},
        {"spatial": "x"},
        {"sidebar": "x"},
        {"side": "x"},
        {"pinned_by": "ann"},
        {"spinner": "x"},
        {"mapping": "x"},
        {"otp_sent_at": "x"},
        {"secretariat": "x"},
        {"first_token": "Hello"},
        {"stop_tokens": ["a"]},
        {"special_tokens": ["a"]},
        {"tokens_per_second": "3"},
        {"token_usage": {"a": "x"}},
        {"session_count": "3"},
        {"user_session_ids": ["a"]},
        {"cookie_names": ["a"]},
        {"password_rules": ["a"]},
        {"password_strength": "weak"},
        {"password_expires_in": "3d"},
        {"secret_store": "vault"},
        {"secret_manager": "aws"},
        {"token_issuer": "x"},
        {"token_audience": "x"},
        {"keys": ["a"]},
        {"sort_keys": "x"},
        {"primary_keys": ["id"]},
        {"event_key": "x"},
        {"config_key": "x"},
        {"feature_key": "x"},
        {"cache_token": "x"},
        {"watch_token": "x"},
        {"offset_token": "x"},
        {"completion_token": "x"},
        {"output_tokens": "x"},
        {"input_token_count": "x"},
        {"lock_token": "x"},
        {"fencing_token": "3"},
        {"sync_token": "x"},
        {"request_token": "x"},
        {"callback_url": "x"},
        {"subkey": "x"},
        {"hotkeys": "x"},
        {"pk": "x"},
        {"secret_santa": "x"},
        {"pass_through": "x"},
        {"passthrough": "x"},
        {"bypass_cache": "x"},
        {"compass": "x"},
    ],
    "bytes": [{"body": b"hello, world"}, {"body": b'{"status": "ok", "n": 3}'}, {"raw": b"\x00\x01\xff"}],
}
_INNOCENT_TEXTS: dict[str, list[str]] = {
    "prose": """
        The password must have at least 12 characters.
        Please reset your password before Friday.
        Password: must contain a digit and a letter
        invalid token: unexpected end of input
        The token has expired, log in again.
        Unexpected token: '}' at line 3
        error: secret not found: orders-db
        The secret of good soup is time.
        Bearer token is missing
        the bearer of bad news
        bearer bonds fell by 2 percent
        Bearer authentication failed.
        WWW-Authenticate: Bearer realm="orders"
        Basic authentication is disabled.
        Basic settings: dark mode, large font
        Authorization: required
        authorization is required for this call
        API key is missing
        Missing key: order_id
        Key: the door key is under the mat
        the session: three talks and a break
        Session expired after 30 minutes
        auth: not configured
        The cookie jar is empty
        cookies: chocolate and oat
        PASS: tests/test_orders.py
        pass: 12, fail: 1
        12 passed, 1 failed
        credentials: none
        no credentials given
        token: 128 of 4096 used
        used 1,024 tokens (prompt: 800, completion: 224)
        tokens=1024 latency=0.3
        max_tokens=512, temperature=0.2
        Pinned to v1.2
        secret: true
        password=None
        password: null
        The --token option is deprecated, use --token-file.
        pass --password to log in
        use --api-key or set API_KEY
        two-factor auth: enabled
        signature: def f(x: int) -> str
        def login(user: str, password: str) -> Token:
        password: str = Field(min_length=8)
        token = get_token()
        password=password
        api_key=os.environ["API_KEY"]
        DB_PASSWORD=${DB_PASSWORD}
        Authorization: Bearer $TOKEN
        Authorization: Bearer <token>
        token: {{ secrets.DEPLOY }}
        password=********
        SyntaxError: invalid token
        KeyError: 'password'
        ValidationError: password: field required
        1 validation error for Login: token: Input should be a valid string
        Größe: 3 m, Schlüssel: rot
    """.splitlines(),
    "ids": """
        order ord_01J9ZQ4K7M2N3P5R6S8T
        trace 4bf92f3577b34da6a3ce929d0e0e4736
        uuid 7b0c4a52-1c52-4f0e-9a52-1d7f3c3c9b10
        commit 9fceb02d0ae598e95dc970b74767f19372d61af8
        image registry.example.com/app@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
        sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        task-1234 of wex_01HZX3Q
        arn:aws:iam::123456789012:role/deploy
        run 01HZX3QK5J6Y7N8P9R0S1T2V3W
        etag "33a64df551425fcc55e4d42a148795d9f25f89d4"
        PROJ-123 and OPS-9
        pk_live_51Habcdefghijklmnopqrst
        md5 d41d8cd98f00b204e9800998ecf8427e
        sk-learn and sk-image are libraries
        version 1.22.333-rc.4+build.5
        ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8Zc ann@host
        pod web-7d4b9c6f5-x2x7z
        npm_config_cache=/tmp/npm
        hf_hub_download failed
        gh_actions_runner_version
        risk-based approach to task-specific disk-usage
        key-value store, key-01
    """.splitlines(),
    "addresses": """
        ann.mueller@example.com wrote
        http://localhost:8080/a@b
        ssh://git@github.com/x/y.git
        git@github.com:x/y.git
        https://example.com/a?page_token=5&limit=10
        https://tracker.example.com/browse?key=PROJ-123
        https://example.com/?q=password+reset
        https://example.com/docs#authentication
        https://example.com/tokens/42
        10.0.0.7:5432 refused the connection
        [::1]:8080
        https://user.example.com:8443/x
        /etc/secrets/token
        s3://bucket/secrets/readme.txt
        file:///home/ann/password.txt
        https://example.com/login?next=/home
        https://example.com/x?error_code=404&code=404
        https://example.com/?sort_key=name&next_token=abc
        2026-01-16T09:30:00.123Z
        urn:uuid:7b0c4a52-1c52-4f0e-9a52-1d7f3c3c9b10
        https://cdn.example.com/app.js?v=9fceb02d
        C:/Users/ann/token.txt
    """.splitlines(),
    "settings": """
        region=eu-central-1 retries=3 timeout=30s
        sort_key=name primary_key=id
        password_changed_at=2026-01-16
        token_type=bearer expires_in=3600
        page_token=CAESBQ next_page_token=CAESBR
        secret_name: orders-db
        cookie_path: /shop
        {"token_type": "bearer", "expires_in": 3600}
        {"status": "ok", "key": "PROJ-1", "page_token": "CAES"}
        {"name": "DB_HOST", "value": "db.internal"}
        {'sort_key': 'created', 'limit': 10}
        Task(name='load', key='orders', retries=2)
        <key>CFBundleName</key><string>App</string>
        <session-timeout>30</session-timeout>
        [auth]\\nenabled = true
        idempotency_key=ord-1-2
        [('key', 'asc'), ('name', 'desc')]
        ['tool', '--region', 'eu', '--verbose']
        curl -u https://x.example
        mkdir -p build/out && docker run -p 8080:80 web
        SELECT token_count, session_id FROM runs WHERE key = 'x'
        -----BEGIN CERTIFICATE-----
        -----BEGIN PUBLIC KEY-----
        lambda key: key.lower()
        sorted(rows, key=len)
        step 3/7: password_reset
    """.splitlines(),
    "code and errors": r"""
        Error: token expired at 2026-01-16T09:30:00Z
        InvalidTokenError: Signature verification failed
        jwt.exceptions.ExpiredSignatureError: Signature has expired
        KeyError: 'api_key'
        KeyError: "password"
        TypeError: __init__() got an unexpected keyword argument 'password'
        raise ValueError("password is too short")
        password = getpass.getpass()
        token = response.json()["token"]
        self.password = password
        if password == other:
        return Token(kind, value)
        token = tokens[i]
        for token in tokens:
        tokens = text.split()
        def f(token: str, *, secret: bytes) -> None:
        password?: string
        let token: string;
        const token = await getToken();
        token: ${{ secrets.GITHUB_TOKEN }}
        GITHUB_TOKEN: ${{ github.token }}
        export TOKEN=$(cat /run/token)
        DB_PASSWORD=<your password>
        stop_token=</s>
        eos_token="</s>"
        authToken is undefined
        Cannot read properties of undefined (reading 'token')
        Unexpected token < in JSON at position 0
        {"password": null, "token": 5, "secret": true}
        {"required": ["password", "token"], "type": "object"}
        {"password": {"type": "string"}}
        {"name": "Password", "type": "text"}
        <input type="password" name="password"/>
        <label>Password</label>
        <token/>
        <secret></secret>
    """.splitlines(),
    "lines of logs and files": r"""
        Enter your password:
        Forgot password? Click here
        Password reset email sent to ann@example.com
        password: required, min length 8
        password field is required
        token limit exceeded: 4097 > 4096
        Token count: 512
        tokens: 123, cost: $0.02
        secrets: inherit
        secrets: [db, cache]
        Secret "db" is forbidden
        imagePullSecrets:
        envFrom: secretRef: name: app
        secretKeyRef: name: db key: password
        automountServiceAccountToken: false
        auth: required
        auth=required
        authMode=oauth2
        auth: {type: oidc}
        authentication: disabled
        authorization: rbac
        Authorization: none
        authorized: true
        session: closed
        session=open
        session: 12 of 40
        sessions=4
        Session: keynote by Ann Meier
        session ended: timeout
        cookie: none
        cookies=2
        cookie consent: accepted
        pin: 13
        pin_count=40
        pass: true
        pass=3 fail=1
        PASSED: 12
        PASS 12 FAIL 0
        first pass: 3 s
        otp: disabled
        key: value
        key=orders/2026/01.csv
        cache_key=orders:2026
        Key: order_id, Value: 12
        the key is missing: order_id
        missing 1 required positional argument: 'token'
        api_key = settings.API_KEY
        token: Token = next(it)
        password: Optional[str] = None
        --from-literal=password=$PASSWORD
        curl -H "Authorization: Bearer $TOKEN" https://x
        curl -u "$USER:$PASS" https://x
        API_KEY=your-api-key-here
        see https://x.io/docs/token-refresh#api-key
        https://x.io/path?sort_key=a&key=PROJ-1&code=200
        https://x.io/?session_id=12
        https://x.io/?pageToken=CAESBQ&maxResults=3
        https://x.io/auth/callback?error=access_denied
        https://console.x.io/secrets?project=12
        GET /api/tokens/42 200
        POST /auth/login 401
        s3://bucket/key=value/part-0.parquet
        year=2026/month=01/key=7/part.parquet
        sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        image: nginx@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        digest=sha256:9f86d081884c7d659a2feaa0c55ad015
        git checkout 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b
        eTag: "9f86d081884c7d659a2feaa0c55ad015"
        ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7 ann@host
        Content-Type: application/json
        Cache-Control: max-age=3600, private
        Host: api.example.com
        X-Request-Id: 4bf92f3577b34da6
        traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
        User-Agent: curl/8.5.0 -u
        Accept: */*
        ratio: 1:2
        time: 09:30:00
        at 09:30: token refreshed
        user: ann, role: admin
        name: password-reset, status: done
        step password_reset: done
        Task 'rotate-secrets' finished
        rotate_secrets: ok
        workflow sync-tokens-to-vault started
        task: refresh_token finished
        refresh_token_expires_in=3600
        access_token_lifetime: 3600
        token_bucket=5
        tokenizer=cl100k_base
        max_new_tokens=256
        page_token: CAESBQj3
        next_page_token="CAESBQj3"
        idempotency_token: 7b0c4a52
        task_token=AAAAKgAAAAEAAAAB
        primary_key: id
        foreign_key=order_id
        public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5
        partition_key="2026-01"
        sort_key: created_at
        password_changed_at: 2026-01-16
        secret_name=orders/db
        secret_arn: arn:aws:secretsmanager:eu-central-1:123456789012:secret:orders-AbCdEf
        secret_id: orders/db
        secret_version: 3
        token_type: Bearer
        credential_type: service_account
        cookie_domain=.example.com
        api_key_id=AKID-12
        access_key_id=main
        private_key_path=/etc/ssl/key.pem
        key_file=/etc/key
        certificate: /etc/cert.pem
        -----BEGIN CERTIFICATE----- MIIB -----END CERTIFICATE-----
        The bearer of this letter may pass
        Bearer token authentication
        use a Bearer token in the Authorization header
        Basic auth is off
        Basic plan: 10 users
        basic training: three weeks
        sk-1 and sk-2 are short
        risk-management-process-for-large-companies-in-europe
        task-orchestration-service-with-many-words-in-name
        disk_usage_percent_of_the_root_partition
        hf_transfer_is_enabled_by_default
        npm_lifecycle_script_name_is_build
        ghp_is_a_prefix
        SG.mail
        eyJ is how a JWT begins
        AKIA is a prefix
        10.1.2.3:8080 and [::1]:53
        user@host:/path
        git@github.com:org/repo.git
        mailto:ann@example.com
        docker run -u 1000:1000 -p 8080:80 web
        docker run --user root:root web
        mysql -p orders
        rsync -a src/ dst/
        tar -a -c -f x.tar
        --no-password
        --password-stdin
        --token-file /run/t
        --key value
        --auth none
        --session 12
        --secret-name db
        ["--no-auth", "x"]
        ann: please send me the secret recipe
        Here is the secret: always add butter
        The password is case sensitive
        A strong password: long, random, unique
        Note: tokens: they are small pieces of text
        Q: what is a token? A: a piece of text
        1. Password: choose one
        Unexpected token 'x', "xyz" is not valid JSON
        unknown token: foo
        parse error near token: END
        {"error": {"code": "invalid_token", "message": "Token is invalid"}}
        {"sort_key": "a", "page_token": "b", "public_key": "c"}
        {'tokens': 12, 'session_id': 'abc'}
    """.splitlines(),
}
_AROUND = ["{s}", "log: {s}", "{s}\nnext line", "Task failed. {s}"]


def innocents() -> list[Case]:
    """Return the cases of which nothing may be replaced; always the same ones."""
    cases = [Case(kind, "payload", value) for kind, values in _INNOCENT_VALUES.items() for value in values]
    places = cycle(_PLACES)
    around = cycle(_AROUND)
    for kind, lines in _INNOCENT_TEXTS.items():
        for line in filter(None, map(str.strip, lines)):
            for _ in range(2):
                cases.append(_text(kind, next(places), next(around).replace("{s}", line)))
    return [
        *cases,
        *(Case(*line) for name in (f"innocents-{number}.txt" for number in range(1, 6)) for line in lines_of(name)),
    ]


FRAGMENTS = [
    *("password", "token", "key", "auth", "authorization", "cookie", "session", "name=", "value=", "curl", "mysql"),
    *(
        "=",
        ":",
        ": ",
        " ",
        "\t",
        '"',
        "'",
        "\\",
        '\\"',
        ",",
        "', '",
        "(",
        "[",
        "{",
        ")",
        "]",
        "}",
        "<",
        ">",
        "</",
        "\n",
    ),
    *("--", "-", "-u ", "sk-", "ghp_", "eyJ", "A", "AKIA", ".", "/", "://", "@", "?", "&", "#", "%3D", "%22", "~", "_"),
    *("Bearer ", "Basic ", "sshpass -p ", "-----BEGIN PRIVATE KEY-----", "-----", "a", "1", "x", "é", "/services/"),
]
"""What the patterns look for, and what is around it."""
