"""`vpsorg doctor`: find out why an account can't be reached or read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import attrs
from cyclopts import Parameter

from ..doctor import Check, Finding, examine
from ..errors import ConfigurationError
from .exits import Exit
from .output import OUTPUT, Output, Yes, plain, printable
from .profile_file import keep_dialect
from .settings import ACCOUNT, Account, Settings
from .signals import run
from .stdio import emit
from .trial_command import Wanted, examine_live

__all__ = ["doctor"]


def doctor(
    *,
    write: Annotated[
        bool, Parameter(help="Store the detected dialect in the profile.", show_default=False)
    ] = False,
    live: Annotated[
        bool,
        Parameter(
            help="Create a cheap server, find out what the documentation leaves open, and delete it.",
            show_default=False,
        ),
    ] = False,
    plan: Annotated[str | None, Parameter(help="Id of its plan; the cheapest by default.")] = None,
    os: Annotated[str | None, Parameter(help="Id of its operating system.")] = None,
    location: Annotated[str | None, Parameter(help="Its location.")] = None,
    yes: Yes = False,
    account: Account = ACCOUNT,
    output: Output = OUTPUT,
) -> int:
    """Find out why the account can't be reached or read. Without `--live` it changes nothing in the account.

    Each line is the result of one check. `good`: the check passed. `odd`: commands work, but read the line. `bad`: the
    check failed. The exit code is 5 if the token is refused, and 6 if another check failed.

    With `--live` it names a server and its price, and asks. It creates that server, uses each command on it, and
    deletes it, however it ends. The report says which assumptions about the API are confirmed, denied or not seen (6:
    one is denied; 4: the server may still exist), and can be pasted into an issue: it has no token, addresses or ids.
    """
    wanted = Wanted(plan=plan, os=os, location=location)
    if live:
        if write:
            raise ConfigurationError(
                "--write stores what the checks without --live find: leave one of them out"
            )
        return examine_live(account, wanted, yes=yes, output=output)
    if wanted != Wanted():
        raise ConfigurationError("--plan, --os and --location are for the server of --live")
    settings = account.settings()
    checks = run(_examine(settings, output))
    told = next((check for check in checks if "dialect" in check.data), None)
    dialect = None if told is None else told.data["dialect"]
    written: Path | None = None
    problem: ConfigurationError | None = None
    if write and told is not None and told.finding is Finding.GOOD:
        try:
            written = keep_dialect(settings.profile, told.data["dialect"])
        except ConfigurationError as unfit:
            problem = unfit
    elif write:
        output.note("nothing was written: the dialect could not be determined with certainty")
    document = {"checks": plain(checks), "dialect": dialect, "written": written and str(written)}
    lines = [f"dialect = {dialect!r} is in [profiles.{settings.profile}] of {written}"] if written else []
    (output.report if written else output.show)(document, lines)
    if problem is not None:
        raise problem
    bad = [check for check in checks if check.finding is Finding.BAD]
    if any(check.refused for check in bad):
        return Exit.REFUSED
    return Exit.PARTIAL if bad else Exit.OK


async def _examine(settings: Settings, output: Output) -> list[Check]:
    checks = []
    async for check in examine(settings.credential, settings.base_url, trust_env=settings.trust_env):
        if check.name == "dialect" and check.finding is not Finding.BAD:
            known = check.data["dialect"] == settings.dialect
            hint = f"--dialect {check.data['dialect']} for one command, doctor --write for the profile"
            check = attrs.evolve(check, advice="" if known else hint)
        checks.append(check)
        if not output.as_json:
            emit(printable(f"{check.finding:<4}  {check.name:<10}  {check.found}") + "\n")
            if check.advice:
                emit(printable(f"      {'':<10}  -> {check.advice}") + "\n")
    return checks
