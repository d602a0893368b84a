"""Protects the server and its visitors: response headers, refused routes and URLs; and the health endpoint.

Gradio itself would download a URL that a visitor gives as a file, and relay requests to other sites; we do neither.
"""

import re

import gradio as gr
from gradio_client.utils import is_http_url_like
from starlette.formparsers import MultiPartException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from ui.service.engine import Engine
from ui.service.live_chunks import WholeStream

# Gradio's scripts are inline and evaluate text, which needs the two "unsafe" words. The protection against injected
# markup is that ui.widgets.markup escapes all text. Spaces show the page in a frame of huggingface.co.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob: ws: wss:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self' https://huggingface.co",
    ]
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}
RELAY = re.compile(r"/(file|proxy)[=/]+https?:", re.IGNORECASE)  # in the path of a request, behind any prefix


class Protection:
    """ASGI middleware: refuses to relay other sites, deletes uploads that break off, adds HEADERS to every response."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if RELAY.search(scope["path"]):
            refusal = PlainTextResponse("This server does not fetch from other sites.", status_code=403)
            return await refusal(scope, receive, send)

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in present)]
            await send(message)

        async def receive_upload():
            message = await receive()
            if message["type"] == "http.disconnect":  # only on this exception does Gradio delete what it has received
                raise MultiPartException("The upload was cut off.")
            return message

        is_upload = scope["path"].endswith("/upload")
        await self.app(scope, receive_upload if is_upload else receive, send_with_headers)


def app_options(engine: Engine) -> dict:
    """The value for `launch(app_kwargs=...)`: all middleware, and /health with the state of the default model."""

    async def health(request: Request) -> JSONResponse:
        state = engine.state()
        return JSONResponse({"status": state}, status_code=503 if state in ("failed", "absent") else 200)

    return {"middleware": [Middleware(Protection), Middleware(WholeStream)], "routes": [Route("/health", health)]}


def refuse_urls(page: gr.Blocks) -> None:
    """Makes every component of the page refuse a URL in place of a file."""
    for block in page.blocks.values():
        move = getattr(block, "async_move_resource_to_block_cache", None)
        if move is not None:
            block.async_move_resource_to_block_cache = _refusing(move)


def _refusing(move):
    async def move_unless_url(url_or_file_path):
        if url_or_file_path and is_http_url_like(str(url_or_file_path)):
            raise gr.Error("Addresses are not fetched: upload the file itself.", print_exception=False)
        return await move(url_or_file_path)

    return move_unless_url
