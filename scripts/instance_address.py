"""Print the host:port of an instance's configuration; with --port, first move the instance to that port."""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path

_PORT_LINE = re.compile(r"^(\s*port\s*=\s*)\d+", re.MULTILINE)


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--port", type=int)
    arguments = parser.parse_args()
    config: Path = arguments.config

    text = config.read_text(encoding="utf-8")
    listen = tomllib.loads(text).get("listen", {})
    if arguments.port is None:
        print(f"{listen.get('host', '127.0.0.1')}:{listen.get('port', 8765)}")
        return 0
    if listen.get("port") == arguments.port:
        return 0
    moved, lines = _PORT_LINE.subn(rf"\g<1>{arguments.port}", text)
    if lines != 1:
        print(f"error: cannot move the instance: write listen.port into {config} by hand", file=sys.stderr)
        return 1
    config.write_text(moved, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
