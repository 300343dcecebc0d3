"""A small chat API on this machine that answers from a function and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ChatServer:
    """``url`` of the endpoint and the parsed bodies of all requests so far."""

    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def chat_server(answer: Callable[[dict[str, Any]], Any]) -> Iterator[ChatServer]:
    """A server whose replies have the content that ``answer`` gives for a request's body.

    An ``int`` is sent as an HTTP status instead; bytes are sent as the whole reply.
    """
    server = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.requests.append(body)
            content = answer(body)
            reply = {"choices": [{"index": 0, "message": {"role": "assistant", "content": content}}]}
            data = content if isinstance(content, bytes) else json.dumps(reply).encode()
            self.send_response(content if isinstance(content, int) else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_port}/v1/chat/completions"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
