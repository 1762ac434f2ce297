"""The `vpsorg` command (extra `cli`). Each command imports what it needs only when it runs."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from .._version import __version__
from .signals import handled, leave, overdue
from .stdio import Unwritten, abandon, emit, note, prepared, print_last

__all__ = ["inventory", "main"]


def main() -> int:
    """Run the command line of this process, and return the exit code."""
    return _main(sys.argv[1:])


def inventory() -> int:
    """Run `vpsorg inventory`: the program `vpsorg-inventory`, which Ansible can execute as an inventory."""
    return _main(["inventory", *sys.argv[1:]])


def _main(arguments: list[str]) -> int:
    code = _ended(arguments)
    leave(code)
    return code


def _ended(arguments: list[str]) -> int:
    with prepared(overdue):
        try:
            with handled():
                return _run(arguments)
        except KeyboardInterrupt as stop:
            abandon(sys.stdout)
            note(f"vpsorg: {str(stop) or 'interrupted'}")
            return getattr(stop, "code", 130)
        except Unwritten as lost:
            if not lost.closed:
                note(f"vpsorg: {lost}")
            return 1
        finally:
            print_last()


def _run(arguments: list[str]) -> int:
    if any(find_spec(name) is None for name in ("cyclopts", "platformdirs", "rich")):
        note('vpsorg: the command needs an extra: pip install "vpsorg-async[cli]"')
        return 2
    if arguments == ["--version"]:
        # scripts call this often, so it is answered before anything else is imported
        emit(f"{__version__}\n")
        return 0
    from .root_command import run

    return run(arguments)
