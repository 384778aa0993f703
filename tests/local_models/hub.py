"""A small hub on this machine, with a server of files beside it that must never see a token."""

import hashlib
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import orjson

COMMIT = "c0ffee" + "0" * 34


class SmallHub:
    """``files`` of the one model ``acme/tiny``; graphs and weights are in LFS and come from the other server.

    ``cuts`` are lengths after which the next answers with a file break off; ``fakes`` are sent in place of files,
    ``status`` and ``code`` in place of every answer of the hub, ``held`` lets a file wait for ever in its middle.
    """

    def __init__(self, files):
        self.files = files
        self.cuts = {}
        self.fakes = {}
        self.status, self.code = 200, ""
        self.ranges = True
        self.held = ""
        self.in_middle, self.going = threading.Event(), threading.Event()
        self.asked, self.asked_beside = [], []
        self.url = self.beside = ""

    def in_lfs(self, name):
        return ".onnx" in name

    def listing(self):
        return {"sha": COMMIT, "siblings": [self._listed(name, data) for name, data in self.files.items()]}

    def _listed(self, name, data):
        told = {"rfilename": name, "size": len(data)}
        if self.in_lfs(name):
            return {**told, "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}}
        return {**told, "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}


class _Handler(BaseHTTPRequestHandler):
    hub: SmallHub

    def do_GET(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = unquote(urlsplit(self.path).path)
        beside = f":{self.server.server_port}" == self.hub.beside[-len(f":{self.server.server_port}") :]
        (self.hub.asked_beside if beside else self.hub.asked).append((path, headers))
        if beside:
            return self._file(path[1:], headers)
        if self.hub.status != 200:
            return self._answer(self.hub.status, b"{}", {"x-error-code": self.hub.code})
        if re.fullmatch(r"/api/models/acme/tiny/revision/\S+", path):
            return self._answer(200, orjson.dumps(self.hub.listing()), {})
        found = re.fullmatch(rf"/acme/tiny/resolve/{COMMIT}/(.+)", path)
        if not found:
            return self._answer(404, b"{}", {})
        if self.hub.in_lfs(found[1]):
            return self._answer(302, b"", {"location": f"{self.hub.beside}/{found[1]}"})
        return self._file(found[1], headers)

    def _file(self, name, headers):
        data = self.hub.fakes.get(name, self.hub.files[name])
        start = int(headers.get("range", "bytes=0-")[6:-1]) if self.hub.ranges else 0
        told = {"content-range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        cuts = self.hub.cuts.get(name)
        self._answer(206 if start else 200, data[start:], told, cuts.pop(0) if cuts else None, name == self.hub.held)

    def _answer(self, status, data, headers, cut=None, held=False):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if held:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.hub.in_middle.set()
            self.hub.going.wait(60)
        else:
            self.wfile.write(data[:cut])

    def log_message(self, *words):
        pass


@contextmanager
def serving_hub(files):
    hub = SmallHub(files)
    handler = type("Handler", (_Handler,), {"hub": hub})
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    threads = [threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True) for one in servers]
    hub.url, hub.beside = (f"http://127.0.0.1:{one.server_port}" for one in servers)
    for server, thread in zip(servers, threads, strict=True):
        server.daemon_threads = True
        thread.start()
    try:
        yield hub
    finally:
        hub.going.set()
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
