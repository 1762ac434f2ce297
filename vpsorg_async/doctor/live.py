"""Examine the service with one server of its own, and delete that server at the end, whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..client import Client
from ..config import WaitPolicy
from ..errors import VpsOrgError
from ..records import PlanOffer, ServerId
from ..shielding import to_the_end
from ..specs import ServerSpec
from .forms import scrub
from .live_report import LiveReport
from .observer import Observer
from .trial import Pace, Trial

__all__ = ["LiveExamination"]


class LiveExamination:
    """Find out what the documentation leaves open: create a server, use each command on it, and delete it.

    It takes some ten minutes, and costs what that server costs. However it ends, by an error or a cancellation, it
    deletes the server before; `remains` says whether that is certain.

    Args:
        vps: A client that was made with the options of the observer, and without ``status_words``.
        observer: What sees the answers as they come.
        spec: The server. Its name must be one that no other server has: it is how the server is found if the answer
            to the create is lost.
        dialect: The dialect of the client.
        visibility: The seconds for which a new server may be missing, as the client has them.
        offers: The list of plans, for the price.
        pace: How long it waits.
        on_phase: Called with the name of each phase as it begins.

    Example::

        observer = Observer()
        async with Client.from_env(**observer.options) as vps:
            examination = LiveExamination(vps, observer, spec)
            await examination.run()
        print("\\n".join(examination.report.lines()))
    """

    def __init__(
        self,
        vps: Client,
        observer: Observer,
        spec: ServerSpec,
        *,
        dialect: str = "documented",
        visibility: float | None = None,
        offers: Sequence[PlanOffer] = (),
        pace: Pace | None = None,
        on_phase: Callable[[str], None] | None = None,
    ) -> None:
        self._spec = spec
        self._observer = observer
        self._trial = Trial(
            vps,
            observer,
            spec,
            dialect=dialect,
            visibility=WaitPolicy().visibility if visibility is None else visibility,
            offers=offers,
            pace=pace,
            on_phase=on_phase,
        )
        self.error: VpsOrgError | None = None
        """What has ended the examination early."""

    async def run(self) -> None:
        """Examine the service, and delete the server. An error that ends it early is in `error`, and is not raised.

        A cancellation is raised after the server was deleted.
        """
        try:
            await self._trial.script()
        except VpsOrgError as failure:
            self.error = failure
        finally:
            await to_the_end(self._trial.removal())

    @property
    def report(self) -> LiveReport:
        """What was found out so far."""
        error = (
            ""
            if self.error is None
            else f"{type(self.error).__name__}: {self._observer.redact(str(self.error))}"
        )
        return LiveReport(observed=self._trial.observations, error=scrub(error))

    @property
    def remains(self) -> bool:
        """Whether the server may exist."""
        return self._trial.observations.remains

    @property
    def server_id(self) -> ServerId | None:
        """The id of the server, once it is known."""
        return self._trial.server_id
