"""`--ready` and the options of its checks: how they are written, and the check that they ask for.

========================================  ==================================================================
written                                   passes when
========================================  ==================================================================
``tcp:22``                                the port accepts connections
``http:8080/healthz``, ``http:/healthz``  a GET is answered by 2xx; ``https:443/healthz`` over TLS
``https://www.example.org/``              the same, for the host name and the port of the URL
``http:/healthz,200-399``                 the same, but one of these statuses passes; also ``,401`` and ``,2xx,404``
``ssh``, ``ssh:2222``                     an SSH server sends its banner
``ssh: COMMAND``, ``ssh:2222: COMMAND``   the command, executed over SSH, ends with exit code 0
========================================  ==================================================================
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import attrs
from cyclopts import Group, Parameter

from ..config import check_seconds
from ..errors import ConfigurationError
from ..lifecycle.readiness import READY_TIMEOUT, Check, Hopeless, NotReady
from ..records import Server
from .time_options import OptionalSeconds

__all__ = ["NO_CHECK", "READINESS", "Readiness", "ReadyRequest", "WrittenCheck", "parse"]

KINDS = ("tcp", "http", "https", "ssh")
FORMS = "tcp:22, http:8080/healthz, https://www.example.org/, ssh, ssh:2222 or 'ssh: COMMAND'"

LONGEST = 80
"""Characters of a miswritten check that are repeated."""

CORRECTIONS = (
    (r":?([0-9]+)", r"tcp:\1"),
    (r"(/.*)", r"http:\1"),
    (r"(tcp|ssh|https?)[\s/=:]+([0-9]+)(.*)", r"\1:\2\3"),
    (r"(https?):([^/0-9:][^:]*)", r"\1:/\2"),
    (r"ssh:([0-9]+)[\s:]\s*(\S.*)", r"ssh:\1: \2"),
    (r"ssh\s*:?\s*([^\s/:0-9].*)", r"ssh: \1"),
)
"""How checks are miswritten, and what is meant."""

WORDS = {
    'pass known_hosts="a file of your choice", pin=True': "give --ssh-known-hosts FILE --ssh-accept-new",
    "pin=True adds host keys to a file: name it with known_hosts=": (
        "--ssh-accept-new adds host keys to a file: name it with --ssh-known-hosts"
    ),
    "pass pin=True": "use --ssh-accept-new",
    "leave key out": "leave --ssh-key out",
    "ready.command needs": "a command over SSH needs",
}
"""Words of the SDK, and the options of the command that they mean."""


@attrs.frozen
class WrittenCheck:
    """A check as it was written: what it tries, on which port (None: the usual one), and the rest.

    ``kind`` is one of `KINDS`, or ``command``; ``rest`` is the path, the URL or the command.
    """

    kind: str
    port: int | None = None
    rest: str = ""
    statuses: frozenset[int] = frozenset()
    """The HTTP statuses that pass; empty for any 2xx."""


def parse(text: str) -> WrittenCheck:
    """Read one check. Raises `ConfigurationError`, with what is probably meant."""
    try:
        return _parse(text.strip())
    except ConfigurationError as problem:
        meant = _meant(text.strip())
        hint = f"did you mean {meant!r}?" if meant else f"a check is written as {FORMS}"
        raise ConfigurationError(f"--ready {text[:LONGEST]!r}: {problem}; {hint}") from None


def _parse(text: str) -> WrittenCheck:
    text, statuses = _with_statuses(text)
    kind, colon, rest = text.partition(":")
    match kind:
        case "tcp":
            if not rest:
                raise ConfigurationError("the port is missing")
            return WrittenCheck(kind, _port(rest))
        case "http" | "https":
            return attrs.evolve(_web(kind, rest, text), statuses=statuses)
        case "ssh":
            return _ssh(rest) if colon else WrittenCheck(kind)
    raise ConfigurationError("this is no check")


def _with_statuses(text: str) -> tuple[str, frozenset[int]]:
    """Return the text without the HTTP statuses at its end, and these."""
    before, comma, end = text.partition(",")
    while comma and not re.fullmatch(r"[0-9xX,\s-]*", end):
        more, comma, end = end.partition(",")
        before += f",{more}"
    if not comma or not re.match("https?(:|$)", before):
        return text, frozenset()
    found: set[int] = set()
    for part in end.split(","):
        bounds = re.fullmatch(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", part.strip().lower())
        if bounds is None:
            raise ConfigurationError(f"statuses are written as 200, 200-399 or 2xx, not {part.strip()!r}")
        hundreds, first, last = bounds.groups()
        low, high = (f"{hundreds}00", f"{hundreds}99") if hundreds else (first, last or first)
        if int(high) < int(low):
            raise ConfigurationError(f"statuses are written as 200, 200-399 or 2xx, not {part.strip()!r}")
        found.update(range(int(low), int(high) + 1))
    return before, frozenset(found)


def _web(kind: str, rest: str, text: str) -> WrittenCheck:
    if rest.startswith("//"):
        # a host of digits alone is a port that was written as in a URL
        if not re.match(r"//[^/:0-9]|//[0-9]+[^/:0-9]|//\[", rest):
            raise ConfigurationError("the host name is missing")
        return WrittenCheck(kind, rest=text)
    port, slash, path = rest.partition("/")
    return WrittenCheck(kind, _port(port) if port else None, slash + path or "/")


def _ssh(rest: str) -> WrittenCheck:
    port, colon, command = rest.partition(":") if re.match("[0-9]+(:|$)", rest) else ("", ":", rest)
    number = _port(port) if port else None
    if not colon:
        return WrittenCheck("ssh", number)
    if not command.strip():
        raise ConfigurationError("the command is missing")
    # "ssh:22x" must not execute 22x
    if not command[0].isspace() or re.fullmatch("[0-9]+", command.strip()):
        raise ConfigurationError("a command is written after a colon and a space")
    return WrittenCheck("command", number, command.strip())


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ConfigurationError(f"a port is a number from 1 to 65535, not {text[:LONGEST]!r}")
    return int(text)


def _meant(text: str) -> str:
    """Return the check that is probably meant; empty if there is none."""
    word = re.match("[A-Za-z]*", text)
    kind = word[0] if word else ""
    close = get_close_matches(kind.lower(), KINDS, 1)
    text = (close[0] if close else kind) + text[len(kind) :]
    for guess in (text, *(re.sub(f"^(?:{wrong})$", right, text) for wrong, right in CORRECTIONS)):
        try:
            _parse(guess)
        except ConfigurationError:
            continue
        return guess
    return ""


@attrs.frozen(kw_only=True)
class ReadyRequest:
    """The check that the options ask for, None for none, and the seconds for it.

    ``arguments`` are the options, so that a hint can repeat them.
    """

    check: Check | None = None
    timeout: float = READY_TIMEOUT
    arguments: tuple[str, ...] = ()

    @property
    def written(self) -> str:
        """The options for a shell, after a space; empty for none."""
        return f" {shlex.join(self.arguments)}" if self.arguments else ""

    def watched(self, heard: Callable[[Server, str], None]) -> Check | None:
        """Return the check, which reports to ``heard``: an empty text when it begins, and why it did not pass."""
        check = self.check
        if check is None:
            return None

        async def call(server: Server) -> bool:
            heard(server, "")
            try:
                return await check(server)
            except (NotReady, Hopeless) as no:
                heard(server, str(no))
                raise

        return attrs.evolve(check, call=call)


NO_CHECK = ReadyRequest()


@Parameter(
    name="*",
    group=Group(
        "Readiness",
        help="A server that is active may still boot. --ready checks it until it can be used, for example: "
        "--ready tcp:22, --ready http:8080/healthz, --ready ssh, --ready 'ssh: cloud-init status --wait'.",
        sort_key=1.5,
    ),
)
@attrs.frozen(kw_only=True)
class Readiness:
    """The options of every command that waits until servers are active."""

    ready: Annotated[
        tuple[str, ...],
        Parameter(
            help="Also wait until this check passes: tcp:PORT, http:PORT/PATH, a URL (both also with the "
            "statuses that pass, such as ,200-399), ssh[:PORT] (its banner), or "
            "'ssh[:PORT]: COMMAND' (exit code 0). Can be repeated: all must pass.",
            show_default=False,
        ),
    ] = ()
    ready_timeout: Annotated[
        OptionalSeconds,
        Parameter(help="Time for each server, from active until all checks pass; 5m by default."),
    ] = None
    ssh_user: Annotated[str | None, Parameter(help="User who executes COMMAND; root by default.")] = None
    ssh_key: Annotated[
        Path | None,
        Parameter(help="File of the private key; by default the keys of the SSH agent and of ~/.ssh."),
    ] = None
    ssh_known_hosts: Annotated[
        Path | None,
        Parameter(help="File of the host keys that are trusted; ~/.ssh/known_hosts by default."),
    ] = None
    ssh_accept_new: Annotated[
        bool,
        Parameter(
            help="Trust the host key that a server shows first, and add it to --ssh-known-hosts. A key that has "
            "changed is refused in any case.",
            show_default=False,
        ),
    ] = False

    def request(self, *, unless: str = "", new: bool = False) -> ReadyRequest:
        """Return what these options ask for.

        Args:
            unless: Why there is nothing to check; empty if there is.
            new: Whether the servers may be new, so that no file has their host keys.

        Raises:
            ConfigurationError: An option is wrong, or asyncssh is missing.
        """
        arguments = self._arguments()
        if not self.ready:
            if arguments:
                raise ConfigurationError(f"{arguments[0]} goes with --ready")
            return NO_CHECK
        if unless:
            raise ConfigurationError(f"--ready {unless}")
        written = {text: parse(text) for text in self.ready}
        by_command = [text for text, check in written.items() if check.kind == "command"]
        self._check_login(by_command[0] if by_command else "", new=new)
        timeout = (
            READY_TIMEOUT
            if self.ready_timeout is None
            else check_seconds(self.ready_timeout, "--ready-timeout")
        )
        from ..ready import all_of

        # also of one check, so that each reason begins with what was written
        check = all_of(*[self._check(text, check) for text, check in written.items()])
        return ReadyRequest(check=check, timeout=timeout, arguments=arguments)

    def _arguments(self) -> tuple[str, ...]:
        given: list[str] = []
        for text in self.ready:
            given += ["--ready", text]
        options = {
            "--ready-timeout": None if self.ready_timeout is None else f"{self.ready_timeout:g}",
            "--ssh-user": self.ssh_user,
            "--ssh-key": self.ssh_key,
            "--ssh-known-hosts": self.ssh_known_hosts,
        }
        for name, value in options.items():
            given += [] if value is None else [name, str(value)]
        return (*given, *(["--ssh-accept-new"] if self.ssh_accept_new else []))

    def _check_login(self, by_command: str, *, new: bool) -> None:
        if not by_command:
            login = [name for name in self._arguments() if name.startswith("--ssh-")]
            if login:
                raise ConfigurationError(
                    f"{login[0]} goes with a --ready that executes a command: 'ssh: COMMAND'"
                )
        elif new and not self.ssh_accept_new and self.ssh_known_hosts is None:
            raise ConfigurationError(
                f"--ready {by_command!r}: ~/.ssh/known_hosts has no host key of a server that is new: to trust each "
                "at its first contact, give --ssh-known-hosts FILE --ssh-accept-new"
            )

    def _check(self, text: str, written: WrittenCheck) -> Check:
        """Return one check, with its text as its name."""
        from ..ready import command, http, ssh, tcp

        port: dict[str, Any] = {} if written.port is None else {"port": written.port}
        try:
            match written.kind:
                case "tcp":
                    check = tcp(**port)
                case "ssh":
                    check = ssh(**port)
                case "command":
                    check = _in_options(
                        command(
                            written.rest,
                            user="root" if self.ssh_user is None else self.ssh_user,
                            key=self.ssh_key,
                            known_hosts=self.ssh_known_hosts,
                            pin=self.ssh_accept_new,
                            **port,
                        )
                    )
                case kind:
                    statuses: dict[str, Any] = (
                        {"status": sorted(written.statuses)} if written.statuses else {}
                    )
                    check = http(written.rest, tls=kind == "https", **port, **statuses)
        except ConfigurationError as problem:
            reason = re.sub(r"^(user|key|known_hosts)\b", _flag, _translated(str(problem)))
            raise ConfigurationError(f"--ready {text!r}: {reason}") from None
        return attrs.evolve(check, name=text)


READINESS = Readiness()
"""The default: no option was given."""


def _flag(name: re.Match[str]) -> str:
    return f"--ssh-{name[1].replace('_', '-')}"


def _translated(text: str) -> str:
    for word, option in WORDS.items():
        text = text.replace(word, option)
    return text


def _in_options(check: Check) -> Check:
    """Return the same check, whose reasons name options of the command."""

    async def call(server: Server) -> bool:
        try:
            return await check(server)
        except Hopeless as never:
            raise Hopeless(_translated(str(never))) from None

    return attrs.evolve(check, call=call)
