"""`vpsorg inventory` and `vpsorg ssh-config`: the servers of the account as a file for another program."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import attrs
from cyclopts import Group, Parameter
from cyclopts.validators import Number

from ..client import Client
from ..config import check_seconds
from ..errors import ConfigurationError
from .account_hosts import AccountHosts
from .exits import Exit
from .filters import FILTERS, Filters
from .host_entries import HostEntry
from .inventory_formats import FORMATS, Access, host_variables, reachable
from .kept_file import HostNotes, KeptFile
from .reports import some
from .server_names import Kind, NoSuchServerError, Reference, read_all
from .settings import ACCOUNT, Account
from .signals import Interrupted
from .specs import AnyServers
from .stdio import emit
from .time_options import Seconds

__all__ = ["ACCESS", "AccessOptions", "inventory", "ssh_config"]

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+\\-]{0,254}\$?")


@Parameter(name="*", group=Group("Login", sort_key=1.5))
@attrs.frozen(kw_only=True)
class AccessOptions:
    """How servers are logged in to, where a file can say it."""

    user: Annotated[
        str | None,
        Parameter(name=("--user", "-l"), help="User who logs in; root by default for ssh and ssh-config."),
    ] = None
    port: Annotated[
        int | None,
        Parameter(
            name=("--port", "-p"),
            help="Port of the servers: 22 by default for SSH, 9100 for Prometheus.",
            validator=Number(gte=1, lte=65535),
        ),
    ] = None
    identity: Annotated[str | None, Parameter(name=("--identity", "-i"), help="File of the private key.")] = (
        None
    )

    def access(self, user: str | None = None) -> Access:
        """Return what was given, with this user if none was. Raises `ConfigurationError`."""
        if self.user is not None and not _USER.fullmatch(self.user):
            raise ConfigurationError(f"--user: {self.user!r} is no name of a user")
        key = self.identity
        if key is not None and (not key.strip() or not key.isprintable() or '"' in key or "{" in key):
            raise ConfigurationError(f"--identity: {key!r} can't be written as the name of a file")
        return Access(port=self.port, user=user if self.user is None else self.user, key=key)

    def check(self, form: str) -> None:
        """Raise `ConfigurationError` for what the format can't say."""
        fitting = {"prometheus": {"--port"}, "hosts": set(), "json": set()}.get(form)
        given = {"--user": self.user, "--port": self.port, "--identity": self.identity}
        for flag, value in given.items():
            if value is not None and fitting is not None and flag not in fitting:
                raise ConfigurationError(f"{flag} has no place in the format {form}")


ACCESS = AccessOptions()
"""The default: no option was given."""


@Parameter(name="*", group=Group("File", sort_key=1.6))
@attrs.frozen(kw_only=True)
class FileOptions:
    """Where the text goes: to standard output, once into a file, or into a file that follows the account."""

    to: Annotated[
        Path | None, Parameter(help="Write to this file. If that fails, the file stays as it was.")
    ] = None
    watch: Annotated[
        Path | None, Parameter(help="Write to this file now and after each change, until Ctrl-C.")
    ] = None
    interval: Annotated[Seconds, Parameter(help="Time between two lists of the account, with --watch.")] = (
        30.0
    )

    def check(self) -> None:
        """Raise `ConfigurationError` for options that do not fit together."""
        check_seconds(self.interval, "--interval")
        if self.to is not None and self.watch is not None:
            raise ConfigurationError("give --to or --watch, not both")


FILE = FileOptions()
"""The default: no option was given."""

Quiet = Annotated[
    bool,
    Parameter(
        name=("--quiet", "-q"),
        help="Show no notes.",
        show_default=False,
        group=Group("Output", sort_key=3),
    ),
]


def inventory(
    servers: AnyServers = (),
    /,
    *,
    form: Annotated[
        Literal["ansible", "prometheus", "hosts", "ssh", "json"] | None,
        Parameter(name=("--format", "-o"), help="What the text is for; ansible by default."),
    ] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", help="The same as --format json.", show_default=False)
    ] = False,
    list_: Annotated[
        bool,
        Parameter(name="--list", help="Print all hosts: what Ansible asks a script for.", show_default=False),
    ] = False,
    host: Annotated[
        str | None,
        Parameter(name="--host", help="Print the variables of one host, as Ansible may ask a script."),
    ] = None,
    filters: Filters = FILTERS,
    file: FileOptions = FILE,
    login: AccessOptions = ACCESS,
    account: Account = ACCOUNT,
    quiet: Quiet = False,
) -> int:
    """Print the servers for Ansible, Prometheus, SSH, a hosts file, or as JSON, or keep a file of them up to date.

    Groups are formed by the pattern of the name (web-01 is in web), by location, plan and status.
    """
    if as_json and form not in (None, "json"):
        raise ConfigurationError(f"give --json or --format {form}, not both")
    form = "json" if as_json else form or "ansible"
    if (list_ or host is not None) and (form != "ansible" or file != FILE or (list_ and host is not None)):
        raise ConfigurationError("--list and --host go with --format ansible alone, one of them at a time")
    login.check(form)
    access = login.access()

    def text(hosts: Sequence[HostEntry]) -> str:
        if host is None:
            return FORMATS[form](hosts, access)
        known = [entry for entry in reachable(hosts) if entry.name == host]
        return json.dumps(host_variables(known[0], access) if known else {}, indent=2) + "\n"

    notes = HostNotes(quiet=quiet, all_shown=form == "json")
    return _write(read_all(servers), filters, text, file, account, notes)


def ssh_config(
    servers: AnyServers = (),
    /,
    *,
    filters: Filters = FILTERS,
    file: FileOptions = FILE,
    login: AccessOptions = ACCESS,
    account: Account = ACCOUNT,
    quiet: Quiet = False,
) -> int:
    """Print a configuration file for SSH, with which ssh, scp and rsync know the servers by name. The user is root."""
    access = login.access("root")

    def text(hosts: Sequence[HostEntry]) -> str:
        return FORMATS["ssh"](hosts, access)

    return _write(read_all(servers), filters, text, file, account, HostNotes(quiet=quiet))


def _write(
    wanted: Sequence[Reference],
    filters: Filters,
    text: Callable[[Sequence[HostEntry]], str],
    options: FileOptions,
    account: Account,
    notes: HostNotes,
) -> int:
    """Print the text of the hosts, write it to a file, or keep a file up to date until a signal comes."""
    options.check()
    path = options.watch or options.to
    file = None if path is None else KeptFile(path, text, notes)
    if file is not None:
        file.check()
    settings = account.settings()

    async def once(vps: Client) -> Sequence[HostEntry]:
        seen = await AccountHosts(vps, wanted, filters).read()
        named = [reference.text for reference in seen.missing if reference.kind is not Kind.PATTERN]
        notes.show(seen)
        if named:
            raise NoSuchServerError(f"not in the account: {some(named)}")
        return seen.hosts

    if options.watch is None or file is None:
        hosts = settings.run(once)
        if file is None:
            emit(text(hosts))
        else:
            file.write(hosts)
        return Exit.OK

    async def keep(vps: Client) -> None:
        hosts = AccountHosts(vps, wanted, filters)
        while True:
            await file.follow(hosts)
            await asyncio.sleep(options.interval)

    with contextlib.suppress(Interrupted):  # a signal is the normal way to end it
        settings.run(keep)
    return Exit.OK
