"""Serves the page on 127.0.0.1 until it is stopped; nothing is sent anywhere, and its folder goes with it."""

import errno
import ipaddress
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fer_lightning.errors import InputError

if TYPE_CHECKING:
    import gradio

HOST = "127.0.0.1"

LARGEST_UPLOAD = "2gb"

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # of gradio
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""The browser loads from, and sends to, this page's server alone (Content-Security-Policy)."""

HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


def bind(port: int) -> socket.socket:
    """A socket on a port of this machine, 0 for any free one. Raises InputError where the port cannot be had."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
        bound.listen()
    except OSError as error:
        bound.close()
        reason = "in use by another program" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0)
        raise InputError(f"--port {port}: {reason}; --port N takes another, --port 0 any free one") from error
    return bound


@contextmanager
def private_folder() -> Iterator[str]:
    """A folder for the uploads and all other temporary files of this process, for its user alone; it is deleted."""
    with tempfile.TemporaryDirectory(prefix="fer_lightning-demo-", ignore_cleanup_errors=True) as folder:
        before, tempfile.tempdir = tempfile.tempdir, folder
        try:
            yield folder
        finally:
            tempfile.tempdir = before


def load_gradio(folder: str) -> None:
    """Import gradio, set to send nothing and to keep its files in a folder. Raises InputError where it is missing."""
    os.environ.update(
        GRADIO_ANALYTICS_ENABLED="False",
        GRADIO_TEMP_DIR=folder,
        GRADIO_EXAMPLES_CACHE=os.path.join(folder, "examples"),
        HF_HUB_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
    )
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise InputError(f"the page needs gradio ({error}): pip install 'fer_lightning[demo]'") from error


def refuse_connections() -> None:
    """From now on, refuse every connection of this process that leaves this machine, whatever a library tries."""
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # None: a Unix socket
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if host and not is_this_machine(host):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "the page connects to nothing outside this machine")


def is_this_machine(host: str | bytes) -> bool:
    """Whether a host name or address is this machine's own."""
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def serve(
    page: "gradio.Blocks", bound: socket.socket, style: str, ready: Callable[[str], None], stop: Callable[[], None]
) -> None:
    """Serve a page on a bound socket until the process is told to stop.

    ready: is called with the address; stop: in a signal handler, so that requests end which take long.
    """
    import gradio as gr
    import uvicorn
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])  # against DNS rebinding
    app.add_middleware(OwnHeaders)
    theme = gr.themes.Default(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    page.has_launched = True  # else gradio takes any file of this machine's for an uploaded one
    gr.mount_gradio_app(
        app, page, path="/", server_name=HOST, server_port=bound.getsockname()[1], footer_links=["api"],
        run_history=False, ssr_mode=False, mcp_server=False, pwa=False, max_file_size=LARGEST_UPLOAD,
        theme=theme, css=style,
    )  # fmt: skip
    ready(f"http://{HOST}:{bound.getsockname()[1]}/")
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            stop()
            super().handle_exit(sig, frame)

    Server(config).run(sockets=[bound])


class OwnHeaders:
    """Adds HEADERS to every answer."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(content: Any) -> None:
            if content["type"] == "http.response.start":
                content["headers"] = [*content.get("headers", []), *HEADERS]
            await send(content)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)
