"""What this package assumes about the service, because no page says it: the table of docs/architecture.md, as data.

Each assumption has the judge that says what a trial has seen of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import answer_rules as answers
from . import command_rules as commands
from .verdicts import Assumption, Judge

__all__ = ["ASSUMPTIONS"]

DOCUMENTED, PROVIDER = "documented", "provider"


def _one(id: str, sentence: str, judge: Judge, dialect: str | None = None) -> Assumption:
    return Assumption(id=id, sentence=sentence, judge=judge, dialect=dialect)


ASSUMPTIONS: Sequence[Assumption] = (
    _one("create-once", "A create that is sent twice creates two servers.", commands.idempotency),
    _one("create-answer", "The answer to a create shows the new server.", commands.create_answers),
    _one("ids-agree", "A server has the same id in every answer.", answers.ids_agree),
    _one("names-kept", "A name is shown as it was sent.", answers.names_kept),
    _one("visibility", "A new server is shown by its id and in lists within a minute.", commands.visible),
    _one("address", "An active server has an address.", answers.addresses),
    _one("price", "The list of plans has the price per hour of a server.", answers.prices),
    _one(
        "password-once",
        "Only the answer to the create has the root password.",
        answers.password_once,
        PROVIDER,
    ),
    _one("error-json", "A refusal by the API is a JSON object.", answers.errors_are_json),
    _one("absence-json", "The API's own 404 is a JSON object.", answers.absence_is_json),
    _one("good-status", "A good status contains no refusal.", answers.good_is_good),
    _one("no-redirects", "No request is redirected.", answers.no_redirects),
    _one("fields-fit", "Every field has the form that the page shows.", answers.answers_fit),
    _one("time-zone", "Times have a time zone.", answers.times_have_a_zone),
    _one("no-operation", "No answer names an operation to follow.", answers.no_operation),
    _one("no-units", "No answer names the unit of a number.", answers.no_units, DOCUMENTED),
    _one("rate-limit", "A 429 says in `Retry-After` how long to wait.", answers.rate_limits),
    _one("list-whole", "A list shows as many servers as it counts.", answers.counts),
    _one("next-link", "Further pages have the origin of the first one.", answers.next_links),
    _one("filter-words", "The filter of lists has the words of the statuses.", answers.filters, DOCUMENTED),
    _one(
        "active-word",
        "A server that runs is `active`.",
        commands.settles_at("active", "create", "reboot", "start"),
    ),
    _one("stopped-word", "A server that is off is `stopped`.", commands.settles_at("stopped", "stop")),
    _one(
        "suspended-word", "A server that the provider switched off is `suspended`.", commands.suspended_word
    ),
    _one(
        "moving-words",
        "Between a command and its end a server is `provisioning`, `starting`, `stopping` or `rebooting`.",
        commands.moving_words,
    ),
    _one("no-failure", "No status word means a failure.", commands.failure_word),
    _one("edit-code", "PATCH is answered by 200.", commands.is_code_200("update"), DOCUMENTED),
    _one("stop-code", "A stop is answered by 200.", commands.is_code_200("stop"), DOCUMENTED),
    _one("edit-answer", "PUT and PATCH are answered by the server.", commands.edits_answer, DOCUMENTED),
    _one("edit-shown", "A read after PUT or PATCH shows the change.", commands.edits_show, DOCUMENTED),
    _one(
        "command-answer",
        "Start, stop and reboot are answered by `success` and the server on its way.",
        commands.commands_answer,
        DOCUMENTED,
    ),
    _one(
        "repeat-refused",
        "A command that the status does not permit is refused by 400, 404, 409 or 410.",
        commands.repeats_refused,
    ),
    _one("reads-follow", "A read after a command does not show the status before it.", commands.reads_follow),
    _one("updated-moves", "Each command moves `updated_at`.", commands.updated_moves),
    _one("updated-forward", "`updated_at` never goes back.", commands.times_forward),
    _one(
        "reboot-shows",
        "A reboot can be seen: by the status, or by `updated_at`.",
        commands.reboot_shows,
    ),
    _one("delete-running", "A server can be deleted while it is active.", commands.deletes_running),
    _one("delete-twice", "A second delete is answered by 404.", commands.delete_twice),
    _one("no-soft-delete", "A server that was deleted is not shown by its id.", commands.no_soft_delete),
    _one("delete-listed", "A list does not show a server after the first 404.", commands.absent_from_lists),
)
"""All of them, in the order of the report."""
