"""The `vpsorg` command: the extra `cli`. What a command needs is imported when it runs."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from .._version import __version__

__all__ = ["main"]


def main() -> int:
    """Run the command line; returns the exit code."""
    try:
        if find_spec("cyclopts") is None or find_spec("rich") is None:
            print('vpsorg: the command needs an extra: pip install "vpsorg-async[cli]"', file=sys.stderr)
            return 2
        if sys.argv[1:] == ["--version"]:
            # the call that scripts make: answered before anything else is imported
            print(__version__)
            return 0
        from .app import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:
        print("vpsorg: interrupted", file=sys.stderr)
        return 130
