"""A time-stamping authority (RFC 3161) for tests: `openssl ts` behind a server on a free port; and servers that answer otherwise."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.tools.publishing.published_batches import Authority, key_pem, pem

HAS_OPENSSL = shutil.which("openssl") is not None
TIME_STAMPING = "1.3.6.1.5.5.7.3.8"
CONFIGURATION = """
[tsa]
default_tsa = here
[here]
serial = serial
signer_cert = tsa.pem
certs = root.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""


@contextmanager
def time_stamps(folder: Path) -> Iterator[tuple[str, list[bytes]]]:
    """The authority's address, and the requests that it got."""
    root = Authority("Test Stamps")
    certificate, key = root.issue(usages=(TIME_STAMPING,))
    for name, data in (("tsa.pem", pem(certificate)), ("tsa.key", key_pem(key)), ("root.pem", pem(root.certificate)), ("serial", b"01\n")):
        (folder / name).write_bytes(data)
    (folder / "tsa.cnf").write_text(CONFIGURATION)
    requests: list[bytes] = []

    def answer(query: bytes) -> bytes:
        requests.append(query)
        (folder / "query").write_bytes(query)
        command = ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return (folder / "reply").read_bytes()

    with serving(answer) as url:
        yield url, requests


@contextmanager
def serving(answer: Any) -> Iterator[str]:
    """A server that answers each POST with what `answer` makes of its body, and each GET with the same of nothing."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._reply(answer(self.rfile.read(int(self.headers.get("Content-Length", 0)))))

        def do_GET(self) -> None:
            self._reply(answer(b""))

        def _reply(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/stamp"
        server.shutdown()
        thread.join()
