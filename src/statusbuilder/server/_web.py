"""The page for people (extra `web`): what is looked at, over HTTP and WebSocket, in the server's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from html import escape
from importlib.resources import files
from os import fspath
from typing import Any, Final
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ..core.model.values import TaskStatus
from ..views.report import status_filter, task_table_head
from ..views.report_style import STYLE
from ._errors import Refusal, ServerStartError
from ._guard import COOKIE, HEADERS, Guard
from ._listen import CertificateAndKey, join, reachable
from ._show import KIND_NAMES, Show

_LARGEST_FORM: Final = 4_096
_HEADINGS: Final = ("Execution", "Phase", "Tasks", "Duration", "Progress")


class Page:
    """Answers browsers."""

    def __init__(self, show: Show, guard: Guard, is_secure: bool) -> None:
        self._show = show
        self._guard = guard
        self._is_secure = is_secure
        execution = "executions/{kind}/{execution_id:path}"
        self.app = Starlette(
            routes=[
                Route("/", self._for_all(self._list_page)),
                Route("/login", self._login, methods=["GET", "POST"]),
                Route("/page.js", self._for_all(_script)),
                Route("/page.css", self._style),
                Route(f"/{execution}", self._for_all(self._execution_page)),
                Route("/api/executions", self._for_all(self._list_json)),
                Route(f"/api/{execution}", self._for_all(self._execution_json)),
                WebSocketRoute(f"/ws/{execution}", self._states),
                WebSocketRoute(f"/ws/page/{execution}", self._parts),
                WebSocketRoute("/ws/page/", self._list),
            ],
            exception_handlers={404: lambda request, error: _text("There is no such page.", 404)},
        )
        self.app.router.redirect_slashes = False

    # Who may see it

    def _for_all(self, answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            refused = self._guard.refuses(request.headers, is_safe=True)
            if refused is not None:
                return _text(refused, 403)
            if not self._guard.knows(request.cookies):
                is_page = "text/html" in request.headers.get("accept", "")
                return RedirectResponse("/login", 303) if is_page else _text("Log in first, at /login.", 401)
            return answer(request)

        return handle

    async def _login(self, request: Request) -> Response:
        refused = self._guard.refuses(request.headers, is_safe=request.method == "GET")
        if refused is not None:
            return _text(refused, 403)
        if not self._guard.asks:
            return RedirectResponse("/", 303)
        if request.method == "GET":
            return _html(_login_page(""))
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_FORM:
                return _text("This form is too large.", 413)
        session = self._guard.open(parse_qs(body.decode("utf-8", "replace")).get("key", [""])[0])
        if session is None:
            return _html(_login_page("This is not the key of this server."), 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, session, httponly=True, samesite="strict", secure=self._is_secure, path="/")
        return answer

    async def _admit(self, viewer: WebSocket) -> bool:
        """Refuse a WebSocket that must not be, with the status that a GET would have."""
        refused = self._guard.refuses(viewer.headers, is_safe=False)
        if refused is not None:
            await viewer.send_denial_response(_text(refused, 403))
        elif not self._guard.knows(viewer.cookies):
            await viewer.send_denial_response(_text("Log in first, at /login.", 401))
        return refused is None and self._guard.knows(viewer.cookies)

    # What it shows

    async def _style(self, request: Request) -> Response:
        refused = self._guard.refuses(request.headers, is_safe=True)
        return _text(refused, 403) if refused is not None else Response(STYLE, media_type="text/css")

    def _list_page(self, request: Request) -> Response:
        headings = "".join(f'<th role="columnheader" scope="col">{text}</th>' for text in _HEADINGS)
        head = f'<thead role="rowgroup"><tr role="row">{headings}</tr></thead>'
        body = '<tbody role="rowgroup" id="g-executions"></tbody>'
        table = f'<table role="table" aria-label="Executions">{head}{body}</table>'
        return _html(_shell("Executions", f"<h1>Executions</h1>{table}"))

    def _execution_page(self, request: Request) -> Response:
        kind, execution_id = _key(request)
        if kind is None or self._show.one(kind, execution_id) is None:
            return _text("There is no such execution.", 404)
        picks = "".join(status_filter(set(TaskStatus)))
        axis = '<span class="axis"><span></span><span></span><span></span></span>'
        table = f'{task_table_head(axis)}<tbody role="rowgroup" id="g-tasks"></tbody></table>'
        groups = "".join(f'<div id="g-{group}"></div>' for group in ("head", "failures", "plan"))
        talk = '<section><h2>Conversation</h2><div id="g-talk"></div></section>' if kind == "AgentExecution" else ""
        return _html(_shell(execution_id, f"{groups}{talk}<section><h2>Timeline</h2>{picks}{table}</section>"))

    def _list_json(self, request: Request) -> Response:
        found = [
            {"kind": address.split("/")[2], "url": f"/api{address}", **_brief(snapshot)}
            for address, snapshot in self._show.newest()
        ]
        return JSONResponse(found)

    def _execution_json(self, request: Request) -> Response:
        kind, execution_id = _key(request)
        snapshot = None if kind is None else self._show.one(kind, execution_id)
        if snapshot is None:
            return _text("There is no such execution.", 404)
        return Response(snapshot.to_json(), media_type="application/json")

    async def _states(self, viewer: WebSocket) -> None:
        await self._follow(viewer, lambda key: self._show.follow(key, lambda shown, version: shown.json()))

    async def _parts(self, viewer: WebSocket) -> None:
        await self._follow(viewer, lambda key: self._show.follow(key, lambda shown, version: shown.news(version)))

    async def _list(self, viewer: WebSocket) -> None:
        if await self._admit(viewer):
            await _send_all(viewer, self._show.follow_list())

    async def _follow(self, viewer: WebSocket, follow: Callable[[tuple[str, str]], AsyncIterator[str]]) -> None:
        if not await self._admit(viewer):
            return
        kind, execution_id = _key(viewer)
        if kind is None or self._show.one(kind, execution_id) is None:
            await viewer.send_denial_response(_text("There is no such execution.", 404))
            return
        await _send_all(viewer, follow((kind, execution_id)))


class Sealed:
    """Gives every answer, refusals and errors too, the headers that keep others out."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def seal(message: Any) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app(scope, receive, seal)


async def _send_all(viewer: WebSocket, texts: AsyncIterator[str]) -> None:
    await viewer.accept()
    with contextlib.suppress(WebSocketDisconnect, Refusal, RuntimeError):  # it went away, or the server stops
        async with contextlib.aclosing(texts) as told:  # type: ignore[type-var]
            async for text in told:
                await viewer.send_text(text)
        await viewer.close(1012)


def _key(request: HTTPConnection) -> tuple[str | None, str]:
    return KIND_NAMES.get(request.path_params["kind"]), request.path_params["execution_id"]


def _brief(snapshot: Any) -> dict[str, Any]:
    whole = snapshot.to_dict()
    facts = ("execution_id", "phase", "error", "started_at", "completed_at")
    return {name: whole[name] for name in facts} | {
        "tasks": snapshot.progress.total,
        "fraction": snapshot.progress.fraction,
    }


# Texts


@cache
def _script_text() -> str:
    return files("statusbuilder.server").joinpath("page.js").read_text("utf-8")


def _script(request: Request) -> Response:
    return Response(_script_text(), media_type="text/javascript")


def _html(text: str, status: int = 200) -> Response:
    return Response(text, status, media_type="text/html")


def _text(text: str, status: int) -> Response:
    return Response(f"{text}\n", status, media_type="text/plain")


def _shell(title: str, main: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css">'
        '</head><body><nav><a href="/">Executions</a> '
        '<span id="state" role="status" class="soft">Connecting</span></nav>'
        f'<main>{main}</main><script src="/page.js"></script></body></html>\n'
    )


def _login_page(wrong: str) -> str:
    said = f'<p class="error" role="alert">{escape(wrong)}</p>' if wrong else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Log in</title>'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="/page.css"></head><body><main><h1>Log in</h1>'
        f'{said}<form method="post" action="/login"><p><label for="key">API key of this server</label></p>'
        '<p><input id="key" name="key" type="password" autocomplete="current-password" required autofocus> '
        "<button>Log in</button></p></form></main></body></html>\n"
    )


# Its life


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
    hosts = frozenset(join(name, port).lower() for name in names if name)
    page = Page(show, Guard(key, hosts, scheme), is_secure=tls is not None)
    secure: dict[str, Any] = {} if tls is None else {"ssl_certfile": fspath(tls[0]), "ssl_keyfile": fspath(tls[1])}
    config = uvicorn.Config(
        Sealed(page.app), log_level="critical", lifespan="off", ws_max_size=_LARGEST_FORM, server_header=False, **secure
    )
    server = uvicorn.Server(config)
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
