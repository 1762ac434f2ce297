"""Which alternative of a spec is tried after a refusal, and which one a run begins with. Pure.

An alternative follows only a definite refusal (`Sent.REJECTED`), and only one that its ``when`` names. A create whose
outcome is unknown may have created a server, and a 401, 402 or 403 would refuse the next one as well.

=====================================================  =============================================================
for a server                                           the next create is sent with
=====================================================  =============================================================
nothing was sent yet                                   the spec; or the alternative that worked last for one like it
the create was refused                                 the first of the later alternatives whose ``when`` names that
none of them does, or the outcome is not a refusal     none: the server fails with this error
=====================================================  =============================================================

An alternative is remembered for the servers that follow once it has worked for a server that was refused before. A
refusal alone says too little: it can be about a name.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable

import attrs

from ..errors import PaymentRequiredError, RequestError, Sent, VpsOrgError, is_forbidden
from ..specs import Alternative, ServerSpec
from .outcomes import TakenAlternative

__all__ = ["Alternatives", "Choice", "after"]

log: logging.Logger = logging.getLogger("vpsorg_async.fleet")


@attrs.frozen
class Choice:
    """What a create is sent with: the spec itself, or its alternative with this index.

    ``reason`` is the refusal that led to it, and ``remembered`` whether that was of another server.
    """

    spec: ServerSpec
    index: int = -1
    reason: str = ""
    remembered: bool = False

    @property
    def taken(self) -> TakenAlternative | None:
        """What the outcome says of it; None for the spec itself."""
        if self.index < 0:
            return None
        return TakenAlternative(plan_id=self.spec.plan_id, location=self.spec.location, reason=self.reason)


def after(spec: ServerSpec, choice: Choice, error: VpsOrgError) -> Choice | None:
    """Return what is tried after a choice was answered by this error; None for nothing."""
    if not isinstance(error, RequestError) or error.sent is not Sent.REJECTED:
        return None
    if is_forbidden(error) or isinstance(error, PaymentRequiredError):
        return None
    for index in range(choice.index + 1, len(spec.alternatives)):
        alternative = spec.alternatives[index]
        if _names(alternative, error):
            return Choice(alternative.of(spec), index, str(error))
    return None


def _names(alternative: Alternative, error: RequestError) -> bool:
    """Return whether an alternative is for this refusal."""
    when = alternative.when
    if isinstance(when, str):
        return when.casefold() in str(getattr(error, "message", error)).casefold()
    return _asked(when, error)


def _asked(when: Callable[[VpsOrgError], object], error: RequestError) -> bool:
    try:
        said = when(error)
        if inspect.isawaitable(said):
            getattr(said, "close", bool)()
            raise TypeError("it returned an awaitable, which is always true: when= is called, not awaited")
        return bool(said)
    except Exception as failure:
        log.warning("the when= of an alternative raised %r, so it is not tried", failure)
        return False


class Alternatives:
    """What has worked for the servers of one run."""

    def __init__(self) -> None:
        self._worked: list[tuple[ServerSpec, Choice]] = []

    def first(self, spec: ServerSpec) -> Choice:
        """Return what the first create of a server is sent with."""
        for like, choice in self._worked if spec.alternatives else ():
            if _template(spec) == like:
                alternative = spec.alternatives[choice.index]
                reason = choice.reason if choice.remembered else f"as for {choice.spec.name}: {choice.reason}"
                return Choice(alternative.of(spec), choice.index, reason, remembered=True)
        return Choice(attrs.evolve(spec, alternatives=()))

    def worked(self, spec: ServerSpec, choice: Choice) -> None:
        """Note that a create was accepted."""
        if choice.index >= 0 and not choice.remembered:
            template = _template(spec)
            self._worked = [known for known in self._worked if known[0] != template]
            self._worked.append((template, choice))


def _template(spec: ServerSpec) -> ServerSpec:
    """Return what the servers have in common that are created from specs like this one."""
    return attrs.evolve(spec, name="x", hostname=None)
