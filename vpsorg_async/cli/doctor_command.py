"""`vpsorg doctor`: find out why an account can't be reached or read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import attrs
from cyclopts import Parameter

from ..doctor import Check, Finding, examine
from ..errors import ConfigurationError
from .exits import Exit
from .output import UNASKED, Output, Unasked, plain, printable
from .profile_file import keep_dialect
from .settings import ACCOUNT, Account, Settings
from .signals import run
from .stdio import emit

__all__ = ["doctor"]


def doctor(
    *,
    write: Annotated[
        bool, Parameter(help="Store the detected dialect in the profile.", show_default=False)
    ] = False,
    account: Account = ACCOUNT,
    output: Unasked = UNASKED,
) -> int:
    """Find out why the account can't be reached or read. The command changes nothing in the account.

    Each line is the result of one check. `good`: the check passed. `odd`: commands work, but read the line. `bad`: the
    check failed. The exit code is 5 if the token is refused, and 6 if another check failed.
    """
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
