"""Records and errors of the package in payloads and failures of Temporal, and back.

A record is ``json/plain`` with the form of `vpsorg_async.plain`: ``{"vpsorg": 1, "type": "Server", ...}``. It reads
back as the record where nothing says which type is expected, so that calls by name work. Plain JSON without ``vpsorg``
and ``type`` is accepted where the type is known.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import attrs
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.converter import (
    AdvancedJSONEncoder,
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    JSONTypeConverter,
    PayloadConverter,
)
from temporalio.exceptions import ApplicationError

from ..conversion import read, unstructure
from ..errors import APIError, ConfigurationError, VpsOrgError
from ..plain import VERSION, from_plain, to_plain
from ..records import Server
from .messages import ApplyRequest, FleetRequest, FleetRow, FleetSummary, ReplaceRequest, RollingRequest

__all__ = [
    "RecordFailureConverter",
    "RecordPayloadConverter",
    "application_error",
    "read_as",
    "with_records",
]

_MESSAGES: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (ApplyRequest, FleetRequest, FleetRow, FleetSummary, ReplaceRequest, RollingRequest)
}


def application_error(error: VpsOrgError, *, final: bool | None = None) -> ApplicationError:
    """Return the error as Temporal knows errors: not retried if it is final.

    Its ``type`` is the name of the class, ``details[0]`` the error as plain data.
    """
    after = error.retry_after if isinstance(error, APIError) else None
    try:
        details = [to_plain(error)]
    except ConfigurationError:
        details = []  # a class of the user's own
    return ApplicationError(
        str(error),
        *details,
        type=type(error).__name__,
        non_retryable=error.final if final is None else final,
        next_retry_delay=None if after is None else timedelta(seconds=after),
    )


def read_as(value: object, kind: type) -> Any:
    """Return the record of this class that a value is, or that its plain data holds.

    Raises:
        ConfigurationError: It is neither; each problem has a line with its place.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, dict) and "vpsorg" in value:
        found = _tagged(value)
        if not isinstance(found, kind):
            raise ConfigurationError(f"$: expected a {kind.__name__}, not a {type(found).__name__}")
        return found
    return read(value, kind)


def with_records(existing: DataConverter | None) -> DataConverter:
    """Return the data converter that also knows the records. Codecs and storage of the given one are kept.

    Raises:
        ConfigurationError: It has a payload or failure converter of its own, other than these.
    """
    converter = DataConverter.default if existing is None else existing
    for own, usual, ours in (
        (converter.payload_converter_class, DefaultPayloadConverter, RecordPayloadConverter),
        (converter.failure_converter_class, DefaultFailureConverter, RecordFailureConverter),
    ):
        if own not in (usual, ours) and not issubclass(own, ours):
            raise ConfigurationError(
                f"the data converter has a {own.__name__}: derive it from {ours.__module__}.{ours.__name__}"
            )
    if issubclass(converter.payload_converter_class, RecordPayloadConverter):
        return converter
    return dataclasses.replace(
        converter,
        payload_converter_class=RecordPayloadConverter,
        failure_converter_class=RecordFailureConverter,
    )


def _tagged(value: dict[str, Any]) -> Any:
    name = value.get("type")
    if isinstance(name, str) and name in _MESSAGES and value["vpsorg"] == VERSION:
        return read(
            {key: item for key, item in value.items() if key not in ("vpsorg", "type")}, _MESSAGES[name]
        )
    return from_plain(value)


def _plain(value: Any) -> dict[str, Any] | None:
    """Return a record or error as plain data; None for anything else."""
    kind = type(value)
    if _MESSAGES.get(kind.__name__) is kind:
        return {"vpsorg": VERSION, "type": kind.__name__, **unstructure(value)}
    return to_plain(value) if attrs.has(kind) or isinstance(value, VpsOrgError) else None


class _Encoder(AdvancedJSONEncoder):
    """Encodes records wherever they are in a value."""

    def default(self, o: Any) -> Any:
        plain = _plain(o)
        return super().default(o) if plain is None else plain


class _Reader(JSONTypeConverter):
    """Reads records where a hint asks for one."""

    def to_typed_value(self, hint: type, value: Any) -> Any:
        if isinstance(hint, type) and (attrs.has(hint) or issubclass(hint, VpsOrgError)):
            return read_as(value, hint)
        return self.Unhandled


class _RecordJSON(JSONPlainPayloadConverter):
    def __init__(self) -> None:
        super().__init__(encoder=_Encoder, custom_type_converters=[_Reader()])

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        try:
            if type_hint is not None and type_hint is not Any:
                return super().from_payload(payload, type_hint)
            return _untyped(_parsed(payload.data))
        except ConfigurationError as error:
            # any other exception would hang a workflow, which the engine tries again for ever
            raise application_error(error) from None


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"a payload is no JSON: {error}") from None


def _untyped(value: Any) -> Any:
    """Return what a value is by its own word. Errors stay plain: they are details of failures."""
    if isinstance(value, list):
        return [_untyped(item) for item in value]
    if isinstance(value, dict) and isinstance(value.get("type"), str) and "vpsorg" in value:
        try:
            found = _tagged(value)
        except ConfigurationError:
            return value  # whoever uses it says what is wrong with it
        return value if isinstance(found, VpsOrgError) else found
    return value


class RecordPayloadConverter(CompositePayloadConverter):
    """The default payload converter, whose JSON has the records of the package."""

    def __init__(self) -> None:
        json_converter = _RecordJSON()
        super().__init__(
            *(
                json_converter if isinstance(converter, JSONPlainPayloadConverter) else converter
                for converter in DefaultPayloadConverter.default_encoding_payload_converters
            )
        )


def _without_details(failure: Failure) -> Failure:
    """Return a failure and its causes without the payloads of users."""
    bare = Failure()
    bare.CopyFrom(failure)
    one = bare
    while True:
        if one.HasField("application_failure_info"):
            one.application_failure_info.ClearField("details")
        if one.HasField("canceled_failure_info"):
            one.canceled_failure_info.ClearField("details")
        if one.HasField("timeout_failure_info"):
            one.timeout_failure_info.ClearField("last_heartbeat_details")
        if not one.HasField("cause"):
            return bare
        one = one.cause


class RecordFailureConverter(DefaultFailureConverter):
    """The default failure converter, which says of errors of the package whether they are worth another try."""

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """Write an exception into a failure."""
        if isinstance(exception, VpsOrgError):
            told = application_error(exception)
            # without its cause and context, which can be of other packages and hold what must not be stored
            told.__traceback__, told.__suppress_context__ = exception.__traceback__, True
            exception = told
        super().to_failure(exception, payload_converter, failure)

    def from_failure(self, failure: Failure, payload_converter: PayloadConverter) -> BaseException:
        """Return the exception of a failure, without details if these can't be read."""
        try:
            return super().from_failure(failure, payload_converter)
        except Exception:
            # whatever it is, it would hang or fail the workflow that reads the failure
            return super().from_failure(_without_details(failure), payload_converter)


# conversion imports cattrs when it first converts, which must not happen inside the sandbox of a workflow
to_plain(Server(id=1, name="x", status="active"))  # type: ignore[arg-type]
read({"operation": "", "succeeded": 0, "failed": 0, "skipped": 0, "failures": []}, FleetSummary)
