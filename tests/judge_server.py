"""A local server with OpenAI's chat API that fails on demand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, str]  # the HTTP status, and the judge's text (status 200) or the error's


@dataclass
class JudgeServer:
    """A running server and the requests it has received.

    Attributes:
        url: The address of its API.
        reply: Returns the reply to a request, given the request's number and the request.
        requests: The requests received so far.
        keys: Their API keys.
        changes: Fields of a reply with status 200 to change: `content` of its message, or others.
    """

    url: str
    reply: Callable[[int, dict[str, Any]], Reply]
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    changes: dict[str, Any] = field(default_factory=dict)


@contextmanager
def judge_server(reply: Callable[[int, dict[str, Any]], Reply]) -> Iterator[JudgeServer]:
    """Start the server on entry and stop it on exit; for a status of 0 it sends no reply."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(state.requests)
                state.requests.append(request)
                state.keys.append(self.headers["Authorization"].removeprefix("Bearer "))
            status, text = state.reply(number, request)
            if status == 0:
                stopped.wait(30)
                return
            if status == 200:
                changes = dict(state.changes)
                message = {"role": "assistant", "content": changes.pop("content", text)}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
                body = {
                    "id": f"chat-{number}",
                    "object": "chat.completion",
                    "created": int(time.time()),
                    "model": request["model"],
                    "choices": [choice],
                    "usage": usage,
                    **changes,
                }
            else:
                body = {"error": {"message": text, "type": "fault"}}
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if status in (429, 500, 503):
                self.send_header("retry-after-ms", "5")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = JudgeServer(f"http://127.0.0.1:{server.server_address[1]}/v1", reply)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
