"""Responses: messages out of any body, error classes by status, Retry-After, secrets, and origins."""

from __future__ import annotations

import json
import math
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpsorg_async.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    DecodeError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    Sent,
    ServiceError,
)
from vpsorg_async.http.exchange import Operation, Request, Response
from vpsorg_async.http.paging import next_path
from vpsorg_async.http.redact import Redactor
from vpsorg_async.http.reply import (
    MAX_BODY,
    MAX_MESSAGE,
    message_of,
    read_answer,
    refusal,
    retry_after,
    sent_of,
)

TOKEN = "vps_abc123/def+456"
REQUEST = Request(Operation.CREATE, "POST", "/api/v1/servers/?secret=x")


def response(status: int, body: bytes = b"", **headers: str) -> Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=status, headers=names, body=body, requested_at=0.0, received_at=0.0)


def refused(status: int, body: bytes = b"", **headers: str) -> APIError:
    error = refusal(REQUEST, response(status, body, **headers), Redactor(TOKEN))
    assert error is not None
    return error


# -- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"detail":"No server 7."}', "No server 7."),
        (b'{"message":"No server 7."}', "No server 7."),
        (b'{"error":"No server 7."}', "No server 7."),
        (b'{"error":{"code":"not_found","message":"No server 7."}}', "code: not_found; No server 7."),
        (b'{"errors":["Too long.","Too odd."]}', "Too long.; Too odd."),
        (b'{"errors":[{"field":"name","msg":"Too long."}]}', "field: name; Too long."),
        (b'{"name":["This field is required."]}', "name: This field is required."),
        (b'{"name":["Too long.","Too odd."],"os_id":["Unknown."]}', "name: Too long.; name: Too odd.; os_id: Unknown."),
        (b'{"errors":{"name":["Too long."]}}', "name: Too long."),
        (b'{"plan":{"id":["Unknown."]}}', "plan.id: Unknown."),
        (b'{"non_field_errors":["Expected a JSON object."]}', "Expected a JSON object."),
        (b'{"status":404,"code":404,"detail":"Gone."}', "Gone."),
        (b'{"status":"error","detail":"Gone."}', "status: error; Gone."),
        (b'{"detail":"first\\n  second\\tthird"}', "first second third"),
        (b'{"detail":""}', ""),
        (b'{"detail":null}', ""),
        (b'{"detail":0,"limit":5}', "0; limit: 5"),
        (b'["Too long.","Too odd."]', "Too long.; Too odd."),
        (b'"No server 7."', "No server 7."),
        (b"{}", ""),
        (b"[]", ""),
        (b"404", "404"),
        (b"No server 7.\r\n", "No server 7."),
        (b"  \n", ""),
        (b"", ""),
        (b"<html><head><title>502 Bad  Gateway</title></head><body>nginx</body></html>", "502 Bad Gateway"),
        (b"<HTML><TITLE lang='en'>a &lt; b &amp; c</TITLE>", "a < b & c"),
        (b"<p>Please <b>wait</b>.</p>", "Please wait ."),
        (b"<title>half a ti", "half a ti"),
        (b'{"detail":"half a sen', '{"detail":"half a sen'),
        (b'{"detail":"a"} and more', '{"detail":"a"} and more'),
        (b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}"),
        ("Höchstens 5 Server.".encode(), "Höchstens 5 Server."),
    ],
)  # fmt: skip
def test_messages(body: bytes, message: str) -> None:
    """Error bodies are undocumented: a message is found in any shape."""
    assert message_of(body) == message


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"[" * 900 + b"1" + b"]" * 900,
        b"[" * 5_000 + b"1" + b"]" * 5_000,
        b"<" * 64_000,
        b"<title>" * 9_000,
        b"a" * 64_000,
        b"password" * 8_000,
        b"password=" * 7_000,
        b'password="' * 6_000,
        b'\\"password\\":\\"' * 4_000,
        b"vps_" * 16_000,
        b"bearer " * 9_000,
        b"\x00" * 64_000,
    ],
    ids=lambda body: repr(body[:12]),
)
@pytest.mark.timeout(20)
def test_no_body_takes_for_ever(body: bytes) -> None:
    """The largest error body that is read, however contrived, takes no noticeable time and breaks nothing."""
    error = refused(400, body)

    assert len(error.message) <= MAX_MESSAGE
    assert len(error.body) <= MAX_BODY


@settings(deadline=None)
@given(st.binary() | st.text().map(str.encode))
def test_any_body_has_a_message(body: bytes) -> None:
    """Creating an error never fails, and always gives it a message."""
    error = refused(400, body)

    assert error.message
    assert "\n" not in error.message


@pytest.mark.parametrize(
    ("body", "of_the_api"),
    [
        (b'{"detail":"No server 7."}', True),
        (b" \n{}", True),
        (b"", False),
        (b"[]", False),
        (b"null", False),
        (b'"No server 7."', False),
        (b'{"detail":"half a sen', False),
        (b"default backend - 404", False),
        (b"<html><title>404 Not Found</title>nginx</html>", False),
    ],
)
@pytest.mark.parametrize("status", [403, 404, 503])
def test_only_an_object_is_the_api_s_own_word(status: int, body: bytes, of_the_api: bool) -> None:
    """Anything else may come from a gateway in front of it, and proves nothing."""
    assert refused(status, body).from_api is of_the_api


def test_long_bodies_are_cut() -> None:
    """Only the beginning of an HTML page is kept."""
    error = refused(500, json.dumps({"detail": "x" * 10_000}).encode())

    assert (len(error.message), len(error.body)) == (MAX_MESSAGE, MAX_BODY)
    assert error.message.endswith("x…")
    assert error.body.startswith('{"detail": "xxx')


def test_wide_bodies_are_cut() -> None:
    """Of a thousand messages the first few are shown."""
    assert message_of(json.dumps({"errors": [f"e{n}" for n in range(1000)]}).encode()).endswith("e19")


@pytest.mark.parametrize(
    ("status", "phrase"), [(404, "Not Found"), (502, "Bad Gateway"), (599, "no explanation")]
)
def test_an_error_without_a_body_is_explained_by_its_status(status: int, phrase: str) -> None:
    """An empty body gives a message from the status."""
    assert refused(status).message == phrase
    assert refused(status, b'{"detail":""}').message == phrase


# -- classes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "cls", "sent"),
    [
        (400, BadRequestError, Sent.REJECTED),
        (401, AuthenticationError, Sent.REJECTED),
        (402, PaymentRequiredError, Sent.REJECTED),
        (403, PermissionDeniedError, Sent.REJECTED),
        (404, NotFoundError, Sent.REJECTED),
        (405, APIError, Sent.REJECTED),
        (408, APIError, Sent.MAYBE),
        (409, APIError, Sent.REJECTED),
        (413, APIError, Sent.REJECTED),
        (418, APIError, Sent.REJECTED),
        (422, APIError, Sent.REJECTED),
        (429, RateLimitError, Sent.REJECTED),
        (499, APIError, Sent.REJECTED),
        (500, ServiceError, Sent.MAYBE),
        (502, ServiceError, Sent.MAYBE),
        (503, ServiceError, Sent.MAYBE),
        (504, ServiceError, Sent.MAYBE),
        (520, ServiceError, Sent.MAYBE),
        (599, ServiceError, Sent.MAYBE),
        (999, ServiceError, Sent.MAYBE),
        (100, APIError, Sent.MAYBE),
        (300, APIError, Sent.REJECTED),
        (301, APIError, Sent.MAYBE),
        (302, APIError, Sent.MAYBE),
        (303, APIError, Sent.MAYBE),
        (304, APIError, Sent.REJECTED),
        (307, APIError, Sent.REJECTED),
        (308, APIError, Sent.REJECTED),
    ],
)
def test_the_status_decides(status: int, cls: type[APIError], sent: Sent) -> None:
    """The class, and the knowledge of the request, follow from the status alone."""
    error = refused(status, b'{"detail":"why","status":404}')

    assert type(error) is cls
    assert (error.status, error.sent) == (status, sent)
    assert sent_of(status) is sent
    assert error.request == "POST /api/v1/servers/"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_no_error(status: int) -> None:
    """Any 2xx is a success, whatever its body says."""
    assert refusal(REQUEST, response(status, b'{"detail":"error"}'), Redactor(TOKEN)) is None


@pytest.mark.parametrize(
    ("location", "where"),
    [
        ("https://elsewhere.example/login?next=/x", "https://elsewhere.example;"),
        ("https://user:pw@elsewhere.example:8443/", "https://elsewhere.example:8443;"),
        ("//elsewhere.example/", "https://elsewhere.example;"),
        ("/api/v1/servers", "another path of the same origin;"),
        ("https://[::1", "an address that can't be read;"),
        ("", "nowhere: no Location was given;"),
    ],
)
def test_redirects_are_told_and_not_followed(location: str, where: str) -> None:
    """The message names the target's origin, without paths, queries and credentials."""
    error = refused(302, b"<title>Found</title>", location=location)

    assert error.message == f"redirected to {where} redirects are not followed"


# -- Retry-After ----------------------------------------------------------------------------------------------------

NOON = "Thu, 16 Jan 2025 12:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("5", 5.0),
        (" 120 ", 120.0),
        ("0.25", 0.25),
        ("999999999999999", 999999999999999.0),
        ("Thu, 16 Jan 2025 12:00:30 GMT", 30.0),
        ("Fri, 17 Jan 2025 12:00:00 GMT", 86_400.0),
        ("Thu, 16 Jan 2025 11:59:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 251_665_271_999.0),
    ],
)
def test_a_hint_to_wait(value: str, seconds: float) -> None:
    """Seconds are used as they are, a date as its distance from the response's own; the past is now."""
    assert retry_after({"retry-after": value, "date": NOON}) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "soon", "NaN", "nan", "inf", "-5", "+5", "1e3", "0x10", "5s", "5, 10", "1_000", ".5", "5.",
        "9" * 16, "9" * 5000, "Thu, 16 Jan 0000 12:00:30 GMT", "Thu, 32 Jan 2025 12:00:30 GMT",
        "Thu, 16 Foo 2025 12:00:30 GMT", "Thu, 16 Jan 2025 25:00:30 GMT", "Thu, 16 Jan 2025 12:00:30 CET",
        "16 Jan 2025 12:00:30 GMT", "2025-01-16T12:00:30Z",
    ],
)  # fmt: skip
def test_a_hint_that_makes_no_sense(value: str) -> None:
    """An invalid hint is ignored."""
    assert retry_after({"retry-after": value, "date": NOON}) is None


@pytest.mark.parametrize("date", ["", "now", "Thu, 16 Jan 0000 12:00:00 GMT"])
def test_a_date_needs_a_date_to_compare_with(date: str) -> None:
    """The clock of this machine is not trusted, so a date alone says nothing."""
    assert retry_after({"retry-after": "Thu, 16 Jan 2025 12:00:30 GMT", "date": date}) is None
    assert retry_after({"retry-after": "Thu, 16 Jan 2025 12:00:30 GMT"}) is None
    assert retry_after({"retry-after": "30", "date": date}) == 30.0


@settings(deadline=None)
@given(st.text() | st.from_regex(r"[\w ,:+.-]{0,30}"), st.text())
def test_any_hint_is_a_number_of_seconds_or_none(value: str, date: str) -> None:
    """No header can make the client wait for NaN, for ever, or backwards."""
    seconds = retry_after({"retry-after": value, "date": date})

    assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


@settings(deadline=None)
@given(st.integers(0, 4_000_000_000), st.integers(0, 4_000_000_000))
def test_dates_are_read_as_they_are_written(until: int, now: int) -> None:
    """Every HTTP date of the next hundred years is read correctly."""
    headers = {"retry-after": formatdate(until, usegmt=True), "date": formatdate(now, usegmt=True)}

    assert retry_after(headers) == max(until - now, 0)


def test_the_hint_is_on_the_error() -> None:
    """Callers find the seconds on the error, also on a 503."""
    assert refused(429, retry_after="7").retry_after == 7.0
    assert refused(503, retry_after="7").retry_after == 7.0
    assert refused(429).retry_after is None


# -- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"detail": f"bad token {TOKEN}"},
        {
            "request": {
                "headers": {"Authorization": f"Bearer {TOKEN}"},
                "body": {"root_password": "hunter2 hunter3"},
            }
        },
        {"errors": [{"password": ["hunter2 hunter3", "hunter4"]}]},
        {"detail": "rejected: " + json.dumps({"password": "hunter2 hunter3"})},
        {"Password": {"hash": "hunter2", "plain": "hunter3"}},
        {"detail": "login failed: password=hunter2"},
        {"detail": "other people's vps_hunter2 as well"},
        {"detail": "Authorization: bearer hunter2.hunter3"},
    ],
    ids=lambda body: str(body)[:40],
)
def test_errors_hold_no_secrets(body: Any) -> None:
    """A service that echoes the request does not make errors show the token or a password."""
    for raw in (
        json.dumps(body),
        json.dumps(body, indent=2),
        json.dumps(body).replace("/", r"\/"),
        str(body),
    ):
        error = refused(400, raw.encode())

        for text in (str(error), repr(error), error.message, error.body, repr(vars(error))):
            assert "hunter" not in text
            assert "abc123" not in text
            assert "def" not in text
        assert "***" in error.message


@pytest.mark.parametrize(
    "body", [b'{"password": "hunter2 hunter3', b"{'password': 'hunter2 hunter3", b'["vps_hunter2']
)
def test_cut_bodies_hold_no_secrets(body: bytes) -> None:
    """Where the closing quote is missing, the rest of the text is blanked."""
    assert "hunter" not in str(vars(refused(400, body)))


def test_a_token_at_the_cut_leaves_no_first_part() -> None:
    """No first part of the token stays where the body shown ends within it."""
    secrets = b"password=" + b"x" * 7000 + b" "
    for visible in range(len(TOKEN)):
        filler = b"." * (4 * MAX_BODY - len(secrets) - visible)
        shown = refused(400, secrets + filler + TOKEN.encode() + b" is not known").body
        assert shown.startswith("password=")
        assert "abc123" not in shown
        assert not any(shown.endswith(TOKEN[:size]) for size in range(5, len(TOKEN)))


def test_a_token_in_an_address_is_blanked() -> None:
    """A percent-escaped token is blanked."""
    assert "abc123" not in Redactor("tok+abc123/def")("GET /?token=tok%2Babc123%2Fdef")


@settings(deadline=None)
@given(st.text(), st.text())
def test_the_token_never_comes_out(before: str, after: str) -> None:
    """Whatever stands around it, the token in use is blanked."""
    assert TOKEN not in Redactor(TOKEN)(before + TOKEN + after)


@pytest.mark.parametrize(
    "text", ["", "No server 7.", "plan_id: Unknown.", "passwords are not supported", "vps_"]
)
def test_other_words_are_left_alone(text: str) -> None:
    """Messages without secrets are not touched."""
    assert Redactor(TOKEN)(text) == text


def test_a_redactor_does_not_show_its_token() -> None:
    """The redactor's repr does not show its token."""
    assert repr(Redactor(TOKEN)) == "Redactor(***)"


# -- good answers that do not fit -----------------------------------------------------------------------------------


def test_a_bad_body_names_its_request() -> None:
    """The error of a body that does not fit has the method and path of the request."""

    def read(body: bytes) -> object:
        raise DecodeError("the answer does not fit", problems=["$.id: no"])

    with pytest.raises(DecodeError, match=r"^POST /api/v1/servers/: the answer does not fit\n  \$\.id: no$"):
        read_answer(REQUEST, response(200, b"{}"), read)


def test_a_body_that_is_too_long_is_not_read() -> None:
    """A truncated response does not decode, even where its beginning would fit."""
    cut = Response(status=200, headers={}, body=b"12", requested_at=0.0, received_at=0.0, cut_at=2)

    with pytest.raises(DecodeError, match="longer than 2 bytes"):
        read_answer(REQUEST, cut, json.loads)


# -- pages ----------------------------------------------------------------------------------------------------------

HERE = "/api/v1/servers/?status=active"


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ("https://admin.vps.org/api/v1/servers/?page=2", "/api/v1/servers/?page=2"),
        ("https://ADMIN.vps.org:443/api/v1/servers/?page=2", "/api/v1/servers/?page=2"),
        ("/api/v1/servers/?page=2&status=active", "/api/v1/servers/?page=2&status=active"),
        ("?page=2", "/api/v1/servers/?page=2"),
        ("next/", "/api/v1/servers/next/"),
        ("//admin.vps.org/api/v1/servers/?page=2", "/api/v1/servers/?page=2"),
        ("?page=2#top", "/api/v1/servers/?page=2"),
        ("?cursor=a%2Fb%3D", "/api/v1/servers/?cursor=a%2Fb%3D"),
        ("https://user:pw@admin.vps.org/api/v1/servers/?page=2", "/api/v1/servers/?page=2"),
    ],
)
def test_a_list_goes_on_where_it_says(link: str, path: str) -> None:
    """Absolute and relative links are followed below the client's own address."""
    assert next_path(HERE, link) == path


@pytest.mark.parametrize(
    "link",
    [
        "http://admin.vps.org/api/v1/servers/?page=2",
        "https://admin.vps.org:8443/api/v1/servers/?page=2",
        "https://evil.example/api/v1/servers/?page=2",
        "https://admin.vps.org.evil.example/api/v1/servers/?page=2",
        "https://admin.vps.org@evil.example/api/v1/servers/?page=2",
        "//evil.example/api/v1/servers/?page=2",
        "ftp://admin.vps.org/api/v1/servers/?page=2",
        "http://internal:8000/vps/api/v1/servers/?page=2",
        "/vps/api/v1/servers/?page=2",
        "http://internal:8000/servers/?page=2",
        "http://internal:8000/v1/servers?page=2",
    ],
)
def test_of_a_link_only_path_and_query_are_used(link: str) -> None:
    """Every request carries the token, so it stays on the client's origin and path, whatever origin a proxy writes."""
    assert next_path(HERE, link) == "/api/v1/servers/?page=2"


OUTSIDE = [
    "javascript:alert(1)",
    "https://[::1",
    "https://admin.vps.org:port/",
    "https://evil.example/",
    "/login?next=/api/v1/servers/",
    "../../../../other/",
    "/api/v1/../../other/",
    "/api/v1/%2e%2e/%2E%2E/other/",
    "/api/v1/..%2f..%2fother/",
    "/api/v1\\..\\other/",
    "/api/v2/servers/",
    "/api/v1",
]


@pytest.mark.parametrize("link", OUTSIDE)
def test_a_list_does_not_go_on_outside_of_the_api(link: str) -> None:
    """The token is not sent to another part of the site: such a link is an error."""
    with pytest.raises(DecodeError, match="outside /api/v1") as caught:
        next_path(HERE, link)

    assert caught.value.problems == ("its next link leads to no path below /api/v1/",)


@settings(deadline=None)
@given(st.text() | st.builds("/api/v1/{}".format, st.text()) | st.sampled_from(OUTSIDE))
def test_no_link_leads_elsewhere(link: str) -> None:
    """Any text is a path below that of the API, or an error."""
    try:
        path = next_path(HERE, link)
    except DecodeError:
        return
    assert path.startswith("/api/v1/")
    assert ".." not in unquote(path.partition("?")[0]).split("/")
