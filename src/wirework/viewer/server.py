"""The loopback server: pages that were made beforehand, and answers of the whole model.

It is read-only. No part of an address ever becomes a path on the disk: pages stand in a table.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wirework.core import WireworkError

LOOPBACK = "127.0.0.1"
ASK = "/ask"
"""Where a page asks for the answers to a prompt."""

MAX_BODY = 64 * 1024
"""Bytes of a request's body."""

MAX_PROMPT = 8_000
"""Characters of a prompt."""

_STATUS = {
    "page-unknown": 404,
    "server-host-foreign": 403,
    "server-origin-foreign": 403,
    "request-too-large": 413,
    "request-not-json": 415,
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

Page = Callable[[], str]
Answer = Callable[[str], Mapping[str, Any]]


def create_app(pages: Mapping[str, Page], port: int, answer: Answer | None = None) -> Starlette:
    """The pages by their addresses, such as `/`, made when they are first asked for; with
    `answer`, prompts are answered at `/ask`.

    Requests must name this very host and port, or a page of another site whose name was made to
    point here could read along (DNS rebinding).
    """
    hosts = tuple(f"{name}:{port}" for name in (LOOPBACK, "localhost"))
    made: dict[str, str] = {}
    # One at a time: compiled loops that run side by side in threads may end the process.
    turn = threading.Lock()

    def page(address: str) -> str:
        with turn:
            return made[address] if address in made else made.setdefault(address, pages[address]())

    def answered(prompt: str) -> Mapping[str, Any]:
        assert answer is not None
        with turn:
            return answer(prompt)

    async def show(request: Request) -> Response:
        address = request.url.path
        if address not in pages:
            raise WireworkError(
                "page-unknown", "there is no such page here", expected=", ".join(list(pages)[:3])
            )
        return HTMLResponse(await run_in_threadpool(page, address))

    async def ask(request: Request) -> Response:
        _check_origin(request, hosts)
        prompt = _prompt(await _body(request))
        return JSONResponse(await run_in_threadpool(answered, prompt))

    routes = [Route(ASK, ask, methods=["POST"])] if answer is not None else []
    app = Starlette(
        routes=[*routes, Route("/{rest:path}", show, methods=["GET"])],
        exception_handlers={WireworkError: _refused, HTTPException: _refused_by_route},
    )
    app.add_middleware(_Guard, hosts=hosts)
    return app


class _Guard:
    """Turns away requests that name another host; puts the safe headers on every answer."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                safe = [(name.lower().encode(), v.encode()) for name, v in _HEADERS.items()]
                message["headers"] = [*message["headers"], *safe]
            await send(message)

        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        named = [value for name, value in scope["headers"] if name == b"host"]
        if len(named) == 1 and named[0].decode("latin-1").lower() in self.hosts:
            await self.app(scope, receive, send_safely)
            return
        error = WireworkError(
            "server-host-foreign", "this server answers only to its own name",
            expected=self.hosts[0],
        )  # fmt: skip
        await _answer_to(error)(scope, receive, send_safely)


def _check_origin(request: Request, hosts: tuple[str, ...]) -> None:
    """Only a page from here may ask: other sites can send requests, but not in its name."""
    if request.headers.get("origin") not in [f"http://{host}" for host in hosts]:
        raise WireworkError(
            "server-origin-foreign", "only pages of this server may ask it",
            expected=f"http://{hosts[0]}",
        )  # fmt: skip
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise WireworkError(
            "request-not-json", "a question is sent as JSON", expected="application/json"
        )


async def _body(request: Request) -> bytes:
    """Never more than `MAX_BODY` bytes are taken, whatever the request says of its length."""
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > MAX_BODY:
            raise WireworkError(
                "request-too-large", "the question is too long", expected=f"{MAX_BODY} bytes"
            )
    return bytes(found)


def _prompt(body: bytes) -> str:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not (isinstance(value, dict) and set(value) == {"prompt"}):
        raise _malformed("a JSON object that holds a prompt and nothing else")
    prompt = value["prompt"]
    if not (isinstance(prompt, str) and len(prompt) <= MAX_PROMPT):
        raise _malformed(f"a text of at most {MAX_PROMPT} characters")
    return prompt


def _malformed(expected: str) -> WireworkError:
    return WireworkError("request-malformed", "the question cannot be read", expected=expected)


def _answer_to(error: WireworkError) -> JSONResponse:
    return JSONResponse({"error": error.to_json()}, _STATUS.get(error.code, 400))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, WireworkError)
    return _answer_to(error)


async def _refused_by_route(request: Request, error: Exception) -> Response:
    """An address or a method that no route has."""
    assert isinstance(error, HTTPException)
    told = WireworkError("page-unknown", "there is nothing here that answers this")
    return JSONResponse({"error": told.to_json()}, error.status_code, headers=error.headers)


# -- running it


def open_socket(port: int = 0) -> socket.socket:
    """Take a port of this machine's own address, 0: any that is free. Raises `port-taken`."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((LOOPBACK, port))
        found.listen(64)
    except (OSError, OverflowError) as error:
        found.close()
        raise WireworkError(
            "port-taken", f"the server cannot use port {port}", got=str(error),
            expected="a free port", hint="--port 0",
        ) from None  # fmt: skip
    return found


def address_of(found: socket.socket) -> str:
    return f"http://{LOOPBACK}:{found.getsockname()[1]}/"


def serve(app: Starlette, found: socket.socket, ready: Callable[[], None]) -> None:
    """Answer until Ctrl-C, or SIGTERM; `ready` is called when requests are accepted."""
    config = uvicorn.Config(
        app, log_level="error", access_log=False, server_header=False, ws="none",
        timeout_graceful_shutdown=2, h11_max_incomplete_event_size=32 * 1024,
    )  # fmt: skip
    try:
        _Server(config, ready).run(sockets=[found])
    except KeyboardInterrupt:
        return  # it has shut down; stopping it is how it ends
    finally:
        found.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready()
