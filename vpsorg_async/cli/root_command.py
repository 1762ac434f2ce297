"""The commands of `vpsorg`, and the exit code of each."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter, UnknownCommandError, UnusedCliTokensError
from cyclopts.validators import Number

from .._version import __version__
from ..counting import counted
from ..errors import ConfigurationError, VpsOrgError
from .exits import Exit
from .help_pages import asks_for_help, examples, prepare
from .signals import Interrupted, held, interrupted, release
from .signals import run as run_work
from .stdio import Unwritten, abandon, emit, note
from .suggestions import did_you_mean
from .time_options import Seconds

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["run"]

app: App = App(
    name="vpsorg",
    help="Servers of VPS.org: fleets, waits, and a sandbox to try them in.",
    help_epilogue="\n".join(["Exit codes:\n", *(f"- **{code.value}** {code.meaning}" for code in Exit)]),
    version=__version__,
    default_parameter=Parameter(negative=()),
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)

# each module is imported only when its command is used
for _name, _home, _help in (
    ("servers", "servers:app", "The servers of the account: list, create, change, delete."),
    ("fleet", "fleet:app", "Many servers at once, with one outcome for each."),
    ("wait", "wait_command:wait", "Wait until the last command on servers is done, or they reach a status."),
    ("watch", "watching:watch", "Show the servers of the account and their changes, until Ctrl-C."),
    ("ssh", "ssh_command:ssh", "Log in to a server as soon as its SSH answers."),
    ("ssh-config", "inventory_command:ssh_config", "Print the servers as a configuration file for SSH."),
    (
        "inventory",
        "inventory_command:inventory",
        "Print the servers for Ansible, Prometheus, SSH or a hosts file.",
    ),
    (
        "worker",
        "worker_command:worker",
        "Do the work of fleets on Temporal, for one account (extra temporal).",
    ),
    ("plans", "lookups:plans", "List the plans that can be ordered."),
    ("locations", "lookups:locations", "List the datacenters (provider dialect)."),
    ("os", "lookups:operating_systems", "List the operating systems (provider dialect)."),
    ("ssh-keys", "lookups:ssh_keys", "Manage the SSH keys of the account (provider dialect)."),
    ("account", "lookups:account", "Show the owner and the permissions of the token."),
    ("login", "sign_in:login", "Check an API token, and store it in a profile."),
    ("logout", "sign_in:logout", "Remove the token of a profile from the configuration file."),
    ("profiles", "profiles_command:app", "The profiles of the configuration file: list, use, show."),
    ("doctor", "doctor_command:doctor", "Find out why the account can't be reached or read."),
):
    app.command(f"{__package__}.{_home}", name=_name, help=_help)
app.register_install_completion_command()
app.meta.suppress_keyboard_interrupt = False  # it does not take this over from `app`

Seed = Annotated[int, Parameter(help="Seed of the random numbers: the same seed repeats the same run.")]

Boot = Annotated[
    str,
    Parameter(help="Seconds from active until a server answers, or a range of them, divided by the speed."),
]
NoBoot = Annotated[bool, Parameter(help="Let no server answer.", show_default=False)]


def run(arguments: Sequence[str]) -> int:
    """Run a command line, and return the exit code."""
    try:
        helped = prepare(app, arguments) if asks_for_help(arguments) else None
        code = int(app.meta(arguments) or Exit.OK)
        if helped is not None:
            examples(helped)
        return code
    except (Exception, KeyboardInterrupt) as error:
        return _end(error, debug="--debug" in arguments)


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    debug: Annotated[bool, Parameter(help="Show the traceback of an error.", show_default=False)] = False,
) -> int:
    """Run the command that the tokens name. An error becomes one line and an exit code."""
    try:
        command, bound, _ = app.parse_args(tokens)
        release()
        code = int(command(*bound.args, **bound.kwargs) or Exit.OK)
        emit("")  # flushes what the help or a table printed
        return code
    except (Exception, KeyboardInterrupt) as error:
        return _end(error, debug=debug)


@app.command(help_epilogue="")
def demo(
    *,
    servers: Annotated[int, Parameter(help="Number of servers.", validator=Number(gte=1))] = 50,
    speed: Annotated[float, Parameter(help="Speed of the sandbox, as a multiple of real time.")] = 60.0,
    seed: Seed = 0,
    boot: Boot = "5:20",
    no_boot: NoBoot = False,
    as_json: Annotated[
        bool, Parameter(name="--json", help="Print the figures as one JSON document.", show_default=False)
    ] = False,
    quiet: Annotated[
        bool, Parameter(name=("--quiet", "-q"), help="Show no progress.", show_default=False)
    ] = False,
    svg: Annotated[Path | None, Parameter(help="Also write a picture of the run to this SVG file.")] = None,
) -> int:
    """Create servers in parallel in a sandbox, wait until they are active, reboot them and delete them.

    Everything runs on this machine: nothing is real, nothing costs money. At the end the command prints the number of
    requests that the sandbox logged.
    """
    with held():
        from rich.console import Console

        from ..sandbox import Sandbox
        from ..sandbox.__main__ import read_range
        from .demo import DURATIONS, EXPECTED, Demo, Result, reason
        from .display import Chart, progress, table
        from .picture import draw

        import_module("vpsorg_async.sandbox.web_app")  # a late import would stall the running loop
    if svg is not None and not svg.parent.is_dir():
        raise ConfigurationError(f"--svg: there is no folder {svg.parent}")
    # the client's warnings on an interrupt apply to real servers only
    logging.getLogger("vpsorg_async").addHandler(logging.NullHandler())
    screen = Console(stderr=True)
    # the sandbox has its own thread and loop, so only sockets connect it with the client
    with contextlib.ExitStack() as opened:
        with _sandbox_settings():
            answering = None if no_boot else read_range(boot)
            ours = Sandbox(speed=speed, seed=seed, durations=DURATIONS, boot=answering)
            box = opened.enter_context(ours)
        many = counted(servers, "server")
        title = f"{many} in a sandbox at {box.url}, {speed:g} times as fast as real time"
        if not quiet:
            screen.print(title, highlight=False, soft_wrap=True)
        # twice the documented 2 to 5 minutes of a create
        run = Demo(box, servers, timeout=30.0 + 600.0 / speed)
        with progress(screen, servers, EXPECTED / speed, quiet=quiet) as show:
            phases = run_work(run.run(show))
    result = Result(servers=servers, speed=speed, seed=seed, phases=phases)
    figures = table(result)
    emit(json.dumps(result.to_dict(), indent=2) + "\n" if as_json else _drawn(figures))
    if svg is not None:
        chart = Chart(servers=servers, moments=run.moments)
        svg.write_text(draw("vpsorg demo", title, "", chart, figures), "utf-8")
    for name, outcome in result.failures[:1]:
        _say(f"{len(result.failures)} of {many} failed; {name} {outcome.key}: {reason(outcome)}")
    return Exit.PARTIAL if result.failures else Exit.OK


def _drawn(figures: Group) -> str:
    """Return figures as they are printed."""
    from rich.console import Console

    with (out := Console()).capture() as drawn:
        out.print(figures)
    return drawn.get()


@contextlib.contextmanager
def _sandbox_settings() -> Iterator[None]:
    """Raise what the sandbox says of its settings as `ConfigurationError`: other commands do not import it."""
    from ..sandbox import SandboxError

    try:
        yield
    except SandboxError as error:
        raise ConfigurationError(str(error)) from error


@app.command(help_epilogue="")
def sandbox(
    *,
    port: Annotated[int, Parameter(help="Port to listen on; 0 chooses a free port.")] = 8080,
    speed: Annotated[float, Parameter(help="Divides all durations: with 60, a minute takes a second.")] = 1.0,
    credit: Annotated[
        int | None, Parameter(help="Number of servers that can be paid for; unlimited by default.")
    ] = None,
    seed: Seed = 0,
    token: Annotated[str | None, Parameter(help="Token to accept; random by default.")] = None,
    dialect: Annotated[str, Parameter(help="Dialect of the API: documented or provider.")] = "documented",
    order: Annotated[str, Parameter(help="Server that lists show first: oldest or newest.")] = "oldest",
    latency: Annotated[Seconds, Parameter(help="Delay of each answer.")] = 0.0,
    boot: Boot = "5:20",
    no_boot: NoBoot = False,
    ports: Annotated[
        str | None, Parameter(help="Ports of servers: ssh=2222,http=8080 by default; tcp=N only accepts.")
    ] = None,
    authorized_keys: Annotated[
        Path | None, Parameter(help="File of SSH keys that log in to every server (extra ssh).")
    ] = None,
    max_listening: Annotated[
        int | None, Parameter(help="Number of servers that answer at one time; 200 by default.")
    ] = None,
    servers: Annotated[int, Parameter(help="Number of active servers at the start.")] = 0,
    as_json: Annotated[
        bool, Parameter(name="--json", help="Print one line of JSON with url and token.", show_default=False)
    ] = False,
) -> int:
    """Run an emulator of the servers API on 127.0.0.1 until Ctrl-C. Nothing in it is real or costs money.

    `python -m vpsorg_async.sandbox` does the same.
    """
    with held():
        from ..sandbox.__main__ import serve

        import_module("vpsorg_async.sandbox.web_app")
    # a signal is the normal way to end it
    with contextlib.suppress(Interrupted), _sandbox_settings():
        serve(
            port=port,
            speed=speed,
            credit=credit,
            seed=seed,
            token=token,
            dialect=dialect,
            order=order,
            latency=latency,
            boot=boot,
            no_boot=no_boot,
            ports=ports,
            authorized_keys=authorized_keys,
            max_listening=max_listening,
            servers=servers,
            as_json=as_json,
        )
    return Exit.OK


@app.command(help_epilogue="")
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="bash, zsh or fish.")], /
) -> int:
    """Print the script by which a shell completes commands and options.

    bash: source <(vpsorg completion bash)
    """
    with held():
        script = app.generate_completion(prog_name="vpsorg", shell=shell)
    emit(script + "\n")
    return Exit.OK


@app.command(name="help", help_epilogue="")
def help_(
    words: Annotated[tuple[str, ...], Parameter(name="COMMAND...", help="The command.")] = (), /
) -> int:
    """Show the help of a command."""
    _, apps, unknown = app.parse_commands(words)
    if unknown and apps[-1].default_command is None:
        return run(words)  # says what is unknown
    return run([*words, "--help"])


@app.command(help_epilogue="")
def version() -> int:
    """Print the version."""
    emit(f"{__version__}\n")
    return Exit.OK


def _end(error: BaseException, *, debug: bool) -> Exit:
    """Print in one line why a command ended, and return its exit code."""
    if not isinstance(error, KeyboardInterrupt):
        # an interrupted import raises some other exception, which would hide the interrupt
        error = interrupted() or error
    if isinstance(error, Interrupted):
        # flushing an interrupted result would block the exit if its reader has stopped reading
        abandon(sys.stdout)
    if isinstance(error, BrokenPipeError) or (isinstance(error, Unwritten) and error.closed):
        abandon(sys.stdout)
        return Exit.FAILED
    if debug and not isinstance(error, CycloptsError):  # it would show a token that was given as an argument
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt) and error.__cause__ is not None:
        _say(_explain(error.__cause__))
    _say(_explain(error), needed=Exit.of(error) is Exit.UNKNOWN)
    return Exit.of(error)


def _explain(error: BaseException) -> str:
    if isinstance(error, UnknownCommandError) and error.unused_tokens and not error.command_chain:
        word = error.unused_tokens[0]
        if meant := _elsewhere(word):
            return f"there is no command vpsorg {word}; did you mean {' or '.join(meant)}?"
    if isinstance(error, CycloptsError):
        command = " ".join(["vpsorg", *(error.command_chain or ()), "--help"])
        text = str(error)
        if isinstance(error, UnusedCliTokensError):
            words = error.unused_tokens or []
            text = f"{counted(len(words), 'argument')} too many"
            if "login" not in command:  # what was meant to be read from a terminal is not shown
                text += f": {' '.join(map(repr, words))}"
        return f"{text}{'' if text.endswith(('.', '?')) else '.'} See {command}"
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted"
    if isinstance(error, VpsOrgError | OSError | Unwritten):
        text = "; ".join([str(error).rstrip("."), *getattr(error, "__notes__", ())])
        # hints name settings of the client: name the option of the command instead
        return re.sub(r"Client\(\.\.\., dialect='(\w+)'\)", r"--dialect \1", text)
    return f"{type(error).__name__}: {error} (a bug in vpsorg; --debug shows the traceback)"


def _elsewhere(word: str) -> list[str]:
    """Return the commands of groups that a command without its group probably means."""
    if did_you_mean(word, app):
        return []  # the parser suggests that one
    found = []
    for group in ("servers", "fleet"):
        names = [name for name in app[group] if not name.startswith("-")]
        close = get_close_matches(word.lower(), names, 1)
        found += [f"vpsorg {group} {close[0]}"] if close else []
    return found


def _say(text: str, *, needed: bool = False) -> None:
    note(f"vpsorg: {' '.join(text.split())}", needed=needed)
