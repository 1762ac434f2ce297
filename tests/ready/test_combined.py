"""`all_of`, `any_of`, `stable` and `limited`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.ready.loopback import answer
from tests.virtual import virtual
from vpsorg_async import Server, errors, ready


class Says:
    """A check that gives its answers one after the other, the last one for ever; each takes some seconds."""

    def __init__(self, *answers: Any, seconds: float = 0.0, name: str = "says") -> None:
        self.answers = list(answers)
        self.seconds = seconds
        self.asked: list[float] = []
        self.running = 0
        self.__qualname__ = name

    async def __call__(self, server: Server) -> Any:
        self.asked.append(asyncio.get_running_loop().time())
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.running += 1
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        if isinstance(said, BaseException):
            raise said
        return said


NO, NEVER = ready.NotReady("not yet"), ready.Hopeless("disk on fire")


def plain(server: Server) -> bool:
    return True


@virtual
async def test_all_of_passes_if_all_pass() -> None:
    """The checks are called in order, plain functions among them."""
    first, second = Says(True, seconds=1), Says(True)

    assert await answer(ready.all_of(first, plain, second)) == "yes"
    assert (first.asked, second.asked) == ([0.0], [1.0])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (False, "no: says: it said no"),
        (NO, "no: says: not yet"),
        (NEVER, "never: says: disk on fire"),
        (OSError("lost"), "no: says: OSError: lost"),
    ],
)
@virtual
async def test_all_of_stops_at_the_first_that_does_not_pass(said: Any, expected: str) -> None:
    """The reason names the check; the checks behind it are not called."""
    behind = Says(True)

    assert await answer(ready.all_of(plain, Says(said), behind)) == expected
    assert behind.asked == []


@virtual
async def test_any_of_passes_with_the_first_that_passes() -> None:
    """The checks are called side by side, and those still running are cancelled."""
    slow = Says(True, seconds=20)

    assert await answer(ready.any_of(slow, Says(NO), Says(NEVER), Says(True, seconds=1))) == "yes"
    assert asyncio.get_running_loop().time() == 1
    assert slow.running == 0


@virtual
async def test_any_of_is_hopeless_only_if_all_are() -> None:
    """One check that may pass later is reason enough to go on."""
    assert await answer(ready.any_of(Says(NEVER, name="a"), Says(NO, seconds=1, name="b"))) == (
        "no: a: disk on fire; b: not yet"
    )
    assert await answer(ready.any_of(Says(NEVER, name="a"), Says(NEVER, seconds=1, name="b"))) == (
        "never: a: disk on fire; b: disk on fire"
    )


@virtual
async def test_stable_passes_after_several_times_in_a_row() -> None:
    """The calls are spread over the time that was given."""
    check = Says(True)

    assert await answer(ready.stable(check, times=3, within=10)) == "yes"
    assert check.asked == [0, 5, 10]


@virtual
async def test_a_service_that_comes_and_goes_is_not_stable() -> None:
    """A failure in between is a no, and the next call begins from the beginning."""
    check = Says(True, NO, True)
    stable = ready.stable(check, times=3, within=2)

    assert await answer(stable) == "no: passed 1 of 3 times, then says: not yet"
    assert await answer(stable) == "yes"
    assert await answer(ready.stable(Says(True, NEVER))) == "never: says: disk on fire"


@virtual
async def test_a_function_has_thirty_seconds_or_its_limit() -> None:
    """A function that hangs is interrupted; `limited` says when."""
    hanging = Says(True, seconds=1000)

    assert await answer(ready.all_of(hanging)) == "no: says: it did not answer within 30 s"
    assert await answer(ready.all_of(ready.limited(hanging, 100))) == (
        "no: says: it did not answer within 100 s"
    )
    assert asyncio.get_running_loop().time() == 130
    assert await answer(ready.limited(Says(True, seconds=90), 100)) == "yes"


@pytest.mark.parametrize("make", [ready.all_of, ready.any_of])
@virtual
async def test_a_cancelled_check_cancels_its_parts(make: Callable[..., ready.Check]) -> None:
    """No part runs on when the whole is cancelled."""
    parts = [Says(True, seconds=5), Says(True, seconds=5)]
    checking = asyncio.ensure_future(answer(make(*parts)))
    await asyncio.sleep(1)
    checking.cancel()
    await asyncio.wait([checking])

    assert checking.cancelled()
    assert [part.running for part in parts] == [0, 0]


@pytest.mark.parametrize("make", [ready.all_of, ready.any_of])
def test_what_ends_everything_is_raised(make: Callable[..., ready.Check]) -> None:
    """A KeyboardInterrupt of a part is no reason: it is raised."""

    def interrupted(server: Server) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(answer(make(interrupted)))


@virtual
async def test_a_check_that_was_not_called_is_a_mistake() -> None:
    """A function that returns a check instead of its answer never passes, and the reason says so."""
    wrong: Any = lambda server: ready.tcp(22)  # noqa: E731

    assert await answer(ready.all_of(wrong)) == (
        "never: test_a_check_that_was_not_called_is_a_mistake.<locals>.<lambda>: "
        "test_a_check_that_was_not_called_is_a_mistake.<locals>.<lambda> returned tcp(22) instead of True or False"
    )


@pytest.mark.parametrize("maker", [ready.tcp, ready.ssh, ready.http, ready.command])
def test_a_function_that_makes_a_check_is_none(maker: Any) -> None:
    """Parentheses were forgotten: that shows before a server is paid for."""
    with pytest.raises(errors.ConfigurationError, match=rf"ready\.{maker.__name__} makes one: call it"):
        ready.all_of(maker)


async def no(server: Server) -> bool:
    return False


async def not_awaited(server: Server) -> Any:
    return no(server)


async def with_reason(server: Server) -> Any:
    return False, "it is not there"


async def steps(server: Server) -> Any:
    yield False


def plain_steps(server: Server) -> Any:
    yield False


async def nothing(server: Server) -> Any:
    """Forgets its return."""


def plain_nothing(server: Server) -> Any:
    """Forgets its return."""


@pytest.mark.parametrize("wrong", [not_awaited, with_reason, steps, plain_steps, nothing, plain_nothing])
@virtual
async def test_what_says_the_same_whatever_was_found_never_passes(wrong: Any) -> None:
    """A coroutine, a generator and a tuple are true, and None never is: it is said at once, and none is a yes."""
    said = await answer(ready.limited(wrong, 5))

    assert said.startswith(f"never: {wrong.__name__} returned ")
    assert said.endswith(" instead of True or False")


@virtual
async def test_an_answer_without_a_truth_is_a_no() -> None:
    """An exception of the answer itself is a reason, as any other one of the check."""

    class Table:
        def __bool__(self) -> bool:
            raise ValueError("the truth of a table is ambiguous")

    wrong: Any = lambda server: Table()  # noqa: E731

    assert await answer(ready.limited(wrong, 5)) == "no: ValueError: the truth of a table is ambiguous"


@pytest.mark.parametrize(
    "make",
    [
        lambda: ready.all_of(),
        lambda: ready.any_of(),
        lambda: ready.all_of(22),  # type: ignore[arg-type]
        lambda: ready.any_of("ssh"),  # type: ignore[arg-type]
        lambda: ready.stable(None),  # type: ignore[arg-type]
        lambda: ready.stable(plain, times=1),
        lambda: ready.stable(plain, times=True),
        lambda: ready.stable(plain, within=0),
        lambda: ready.limited(plain, -1),
        lambda: ready.limited(5, 5),  # type: ignore[arg-type]
    ],
)
def test_arguments_are_checked(make: Callable[[], Any]) -> None:
    """A wrong argument is refused when the check is created."""
    with pytest.raises(errors.ConfigurationError):
        make()


def test_a_check_is_shown_as_it_is_written() -> None:
    """The repr of a check names its parts."""
    both = ready.all_of(ready.ssh(2222), ready.any_of(plain, ready.http("/")))

    assert repr(both) == "all_of(ssh(2222), any_of(plain, http('/')))"
    assert repr(ready.stable(both, times=2, within=1.5)) == f"stable({both!r}, times=2, within=1.5)"
    assert repr(ready.limited(plain, 5)) == "plain"
