"""Wait until the service at host:port is ready, its process is gone, or the time is over.

With --free, only make sure that nobody listens there: another service's readiness must not pass for ours.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import sys
import time


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", help="host:port")
    parser.add_argument("--free", action="store_true")
    parser.add_argument("--pid", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")

    if arguments.free:
        if _somebody_listens(host, int(port)):
            sentence = f"error: something listens on {arguments.address} already: stop it, or give another --port"
            print(sentence, file=sys.stderr)
            return 1
        return 0

    deadline = time.monotonic() + arguments.seconds
    last = "nobody listens"
    while time.monotonic() < deadline:
        if not _is_alive(arguments.pid):
            print("error: the service ended before it was ready", file=sys.stderr)
            return 1
        try:
            last = _ask_readyz(host, int(port))
        except OSError as trouble:
            last = str(trouble)
        if last == "ready":
            return 0
        time.sleep(0.1)
    print(f"error: the service was not ready within {arguments.seconds:.0f} s ({last})", file=sys.stderr)
    return 1


def _somebody_listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _ask_readyz(host: str, port: int) -> str:
    """Return "ready", or what the service answered instead. No proxy: http.client knows none."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read(500).decode("utf-8", "replace")
    except http.client.HTTPException as trouble:
        return repr(trouble)
    finally:
        connection.close()
    return "ready" if answer.status == http.client.OK else f"HTTP {answer.status}: {body}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
