"""The page for people (extra `web`): what is looked at, over HTTP and WebSocket, in the server's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from functools import cache, partial
from html import escape
from importlib.resources import files
from os import fspath
from typing import Any, Final
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

from ..core.model.values import Snapshot, TaskStatus
from ..views.report_style import STYLE
from ..views.timeline import status_filter, table_head, task_table_head
from ._guard import COOKIE, HEADERS, Guard
from ._listen import CertificateAndKey, ServerStartError, join, reachable
from ._show import KIND_NAMES, LISTED, Show, Shown
from .serving import Refusal

_LARGEST_FORM: Final = 4_096
_USUAL_PORTS: Final = {"http": 80, "https": 443}
_OPEN: Final = ("/login", "/page.css")


class Admission:
    """Lets through to the page who may see it."""

    def __init__(self, app: Any, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        is_socket = scope["type"] == "websocket"
        refusal = self._refusal(HTTPConnection(scope), not is_socket and scope["method"] in ("GET", "HEAD"))
        if refusal is None:
            await self._app(scope, receive, send)
        elif is_socket:
            await WebSocket(scope, receive, send).send_denial_response(refusal)
        else:
            await refusal(scope, receive, send)

    def _refusal(self, asked: HTTPConnection, is_safe: bool) -> Response | None:
        refused = self._guard.refuses(asked.headers, is_safe)
        if refused is not None:
            return _text(refused, 403)
        if self._guard.knows(asked.cookies) or asked.scope["path"] in _OPEN:
            return None
        is_page = "text/html" in asked.headers.get("accept", "")
        return RedirectResponse("/login", 303) if is_page else _text("Log in first, at /login.", 401)


class _AnyConvertor(Convertor[str]):
    """Takes the rest of a path; Starlette's own `path` ends at a line feed."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _AnyConvertor())


class Page:
    """Answers browsers."""

    def __init__(self, show: Show, guard: Guard, is_secure: bool) -> None:
        self._show = show
        self._guard = guard
        self._is_secure = is_secure
        execution = "executions/{kind}/{execution_id:any}"
        self.app = Starlette(
            routes=[
                Route("/", self._list_page),
                Route("/login", self._login, methods=["GET", "POST"]),
                Route("/page.js", _script),
                Route("/page.css", lambda request: Response(STYLE, media_type="text/css")),
                Route(f"/{execution}", self._execution_page),
                Route("/api/executions", self._list_json),
                Route(f"/api/{execution}", self._execution_json),
                WebSocketRoute(f"/ws/{execution}", partial(self._follow, tell=Shown.json)),
                WebSocketRoute(f"/ws/page/{execution}", partial(self._follow, tell=Shown.news)),
                WebSocketRoute("/ws/page/", self._follow_list),
            ],
            exception_handlers={404: lambda request, error: _text("There is no such page.", 404)},
        )
        self.app.router.redirect_slashes = False

    async def _login(self, request: Request) -> Response:
        if not self._guard.asks:
            return RedirectResponse("/", 303)
        if request.method != "POST":
            return _login_page("")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_FORM:
                return _text("This form is too large.", 413)
        session = self._guard.open(parse_qs(body.decode("utf-8", "replace")).get("key", [""])[0])
        if session is None:
            return _login_page("This is not the key of this server.", 401)
        secure = "; Secure" if self._is_secure else ""
        cookie = f"{COOKIE}={session}; HttpOnly; SameSite=Strict; Path=/{secure}"
        return RedirectResponse("/", 303, {"Set-Cookie": cookie})

    async def _list_page(self, request: Request) -> Response:
        page = _page_number(request)
        others = [("Newer", page - 1)] if page > 1 else []
        others += [("Older", page + 1)] if len(await self._show.newest(page)) == LISTED else []
        links = " ".join(f'<a href="/?page={number}">{text}</a>' for text, number in others)
        head = table_head("Executions", "list", ("Execution", "Phase", "Tasks", "Duration", "Progress"))
        table = f'{head}<tbody role="rowgroup" id="g-executions"></tbody></table>'
        return _html("Executions", f"<h1>Executions</h1>{table}<p>{links}</p>")

    async def _execution_page(self, request: Request) -> Response:
        kind, execution_id = _key(request)
        if self._show.one(kind, execution_id) is None:
            return _text("There is no such execution.", 404)
        picks = "".join(status_filter(set(TaskStatus)))
        axis = '<span class="axis"><span></span><span></span><span></span></span>'
        table = f'{task_table_head(axis)}<tbody role="rowgroup" id="g-tasks"></tbody></table>'
        groups = "".join(f'<div id="g-{group}"></div>' for group in ("head", "failures", "plan"))
        talk = '<section><h2>Conversation</h2><div id="g-talk"></div></section>' if kind == "AgentExecution" else ""
        return _html(execution_id, f"{groups}{talk}<section><h2>Timeline</h2>{picks}{table}</section>")

    async def _list_json(self, request: Request) -> Response:
        newest = await self._show.newest(_page_number(request))
        return JSONResponse([_brief(address, snapshot) for address, snapshot in newest])

    async def _execution_json(self, request: Request) -> Response:
        snapshot = self._show.one(*_key(request))
        if snapshot is None:
            return _text("There is no such execution.", 404)
        return Response(snapshot.to_json(), media_type="application/json")

    async def _follow(self, viewer: WebSocket, tell: Callable[[Shown, int], str]) -> None:
        key = _key(viewer)
        if self._show.one(*key) is None:
            await viewer.send_denial_response(_text("There is no such execution.", 404))
        else:
            await _send_all(viewer, self._show.follow(key, tell))

    async def _follow_list(self, viewer: WebSocket) -> None:
        await _send_all(viewer, self._show.follow_list(_page_number(viewer)))


async def _send_all(viewer: WebSocket, texts: AsyncIterator[str]) -> None:
    await viewer.accept()
    # Who has gone is not noticed by sending where nothing changes any more.
    ends = [asyncio.ensure_future(_send(viewer, texts)), asyncio.ensure_future(_gone(viewer))]
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def _send(viewer: WebSocket, texts: AsyncIterator[str]) -> None:
    with contextlib.suppress(WebSocketDisconnect, Refusal, RuntimeError):  # it went away, or the server stops
        async with contextlib.aclosing(texts) as told:  # type: ignore[type-var]
            async for text in told:
                await viewer.send_text(text)
        await viewer.close(1012)


async def _gone(viewer: WebSocket) -> None:
    while (await viewer.receive())["type"] != "websocket.disconnect":
        pass  # what a viewer says is nothing to the server


def _key(request: HTTPConnection) -> tuple[str, str]:
    return KIND_NAMES.get(request.path_params["kind"], ""), request.path_params["execution_id"]


def _page_number(request: HTTPConnection) -> int:
    text = request.query_params.get("page", "")
    return max(1, int(text)) if text.isdecimal() and len(text) < 10 else 1


def _brief(address: str, snapshot: Snapshot) -> dict[str, Any]:
    whole, progress = snapshot.to_dict(), snapshot.progress
    facts = {name: whole[name] for name in ("execution_id", "phase", "error", "started_at", "completed_at")}
    place = {"kind": address.split("/")[2], "url": f"/api{address}"}
    return place | facts | {"tasks": progress.total, "fraction": progress.fraction}


# Texts


@cache
def _script_text() -> str:
    return files("statusbuilder.server").joinpath("page.js").read_text("utf-8")


def _script(request: Request) -> Response:
    return Response(_script_text(), media_type="text/javascript")


def _text(text: str, status: int) -> Response:
    return Response(f"{text}\n", status, media_type="text/plain")


def _html(title: str, main: str, *, status: int = 200, is_live: bool = True) -> Response:
    nav = '<nav><a href="/">Executions</a> <span id="state" role="status" class="soft">Connecting</span></nav>'
    top, script = (nav, '<script src="/page.js"></script>') if is_live else ("", "")
    text = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css">'
        f"</head><body>{top}<main>{main}</main>{script}</body></html>\n"
    )
    return Response(text, status, media_type="text/html")


def _login_page(wrong: str, status: int = 200) -> Response:
    said = f'<p class="error" role="alert">{escape(wrong)}</p>' if wrong else ""
    form = (
        f'<h1>Log in</h1>{said}<form method="post" action="/login"><p><label for="key">API key of this server</label>'
        '</p><p><input id="key" name="key" type="password" autocomplete="current-password" required autofocus> '
        "<button>Log in</button></p></form>"
    )
    return _html("Log in", form, status=status, is_live=False)


# Its life


class _Line(AutoWebSocketsProtocol):  # type: ignore[misc, valid-type]
    """A viewer's connection; uvicorn fails, and leaves all others as they are, where it says goodbye to one that is
    going already."""

    def shutdown(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()


@contextlib.asynccontextmanager
async def serving(
    show: Show, key: str | None, host: str, port: int, tls: CertificateAndKey | None
) -> AsyncIterator[str]:
    """Serve the page for the duration of the block; gives its URL.

    Raises:
        ServerStartError: the address cannot be listened on.
    """
    listener = _listen(host, port)
    port = listener.getsockname()[1]
    scheme = "http" if tls is None else "https"
    names = ("localhost", "127.0.0.1", "::1", socket.gethostname(), reachable(host), host)
    hosts = {join(name, port).lower() for name in names if name}
    if port == _USUAL_PORTS[scheme]:  # which browsers leave out
        hosts |= {name.rpartition(":")[0] for name in hosts}
    guard = Guard(key, frozenset(hosts), scheme)
    page = Page(show, guard, is_secure=tls is not None)
    options: dict[str, Any] = {"log_level": "critical", "lifespan": "off", "headers": HEADERS, "server_header": False}
    if tls is not None:
        options |= {"ssl_certfile": fspath(tls[0]), "ssl_keyfile": fspath(tls[1])}
    app = Admission(page.app, guard)
    options |= {"timeout_graceful_shutdown": 1}  # from Python 3.12 on it waits for clients that do not end their TLS
    server = uvicorn.Server(uvicorn.Config(app, ws=_Line, ws_max_size=_LARGEST_FORM, **options))
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        yield f"{scheme}://{join(reachable(host), port)}/"
    finally:
        server.should_exit = server.force_exit = True
        await running
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ServerStartError(join(host, port), f"{reason}. Choose another port for the page.") from error
