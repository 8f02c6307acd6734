"""A local server with as much of the Hugging Face hub's API as uploads and downloads need."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

COMMIT = "c" * 40


class FakeHub:
    """A hub that runs in a thread and holds its repositories in memory.

    Attributes:
        url: The address of the hub.
        repositories: The content of each file by the repository's name and the file's path.
        sizes: Sizes in bytes to report for some paths, in place of the real ones.
        asked: The paths of the requests so far.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.sizes: dict[str, int] = {}
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"] or 0))
                self.reply(json.dumps(hub.post(urlparse(self.path).path, body)).encode())

            def do_GET(self) -> None:
                path = unquote(urlparse(self.path).path)
                hub.asked.append(path)
                if "/resolve/" in path:
                    repository, _, rest = path[1:].partition("/resolve/")
                    data = hub.repositories[repository][rest.partition("/")[2]]
                    self.reply(data, etag=hashlib.sha256(data).hexdigest())
                    return
                name = "/".join(path.split("/")[3:5])
                if name not in hub.repositories:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.end_headers()
                    return
                self.reply(json.dumps(hub.listing(name)).encode())

            do_HEAD = do_GET

            def reply(self, data: bytes, etag: str = "x") -> None:
                self.send_response(200)
                self.send_header("ETag", f'"{etag}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def listing(self, name: str) -> list[dict[str, object]]:
        """Return the files of a repository as the hub's API lists them."""
        files = self.repositories[name]
        return [
            {"type": "file", "path": p, "size": self.sizes.get(p, len(d)), "oid": "0" * 40}
            for p, d in files.items()
        ]

    def post(self, path: str, body: bytes) -> dict[str, object]:
        """Handle an upload request and return its reply."""
        self.asked.append(path)
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            self.repositories.setdefault(name, {})
            return {"url": f"{self.url}/{name}", "name": name, "id": name}
        name = "/".join(path.split("/")[3:5])
        if "/preupload/" in path:
            files = json.loads(body)["files"]
            return {
                "files": [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in files
                ]
            }
        lines = [json.loads(line) for line in body.splitlines()]
        for line in lines:
            if line["key"] == "file":
                data = base64.b64decode(line["value"]["content"])
                self.repositories[name][line["value"]["path"]] = data
        return {
            "success": True,
            "commitOid": COMMIT,
            "commitUrl": f"{self.url}/{name}/commit/{COMMIT}",
        }

    def close(self) -> None:
        """Stop the server."""
        self.server.shutdown()
        self.server.server_close()
