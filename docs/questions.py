"""Ask the search of the built documentation what people search for: ``python -I docs/questions.py site``.

Each question has to find its page within the first three hits. It is answered by the search's own scripts, on Node.
"""

import json
import subprocess
import sys
from pathlib import Path

QUESTIONS = {
    "timeout": "howto/timeouts-retries",
    "retry": "howto/timeouts-retries",
    "rate limit 429": "howto/timeouts-retries",
    "exceptions": "howto/errors",
    "logging debug": "howto/logging",
    "pagination": "howto/lists",
    "proxy": "howto/proxy",
    "custom CA certificate": "howto/proxy",
    "concurrency": "howto/concurrency",
    "cancellation": "howto/shutdown",
    "SIGTERM kubernetes": "howto/shutdown",
    "fastapi": "howto/web-frameworks",
    "django": "howto/web-frameworks",
    "requests": "howto/from-requests",
    "hcloud": "howto/from-other-sdks",
    "wait until a server is ready": "howto/usable-servers",
    "ansible": "howto/after-the-status",
    "prometheus": "howto/after-the-status",
    "ssh config": "howto/after-the-status",
    "rolling reboot": "howto/rolling-reboot",
    "duplicate servers after crash": "howto/surviving-crashes",
    "fleets on temporal": "howto/temporal",
    "several accounts": "howto/accounts",
    "rotate token": "howto/replacing-tokens",
    "jupyter notebook": "howto/without-async",
    "mock tests pytest": "howto/testing",
    "opentelemetry tracing": "howto/tracing",
    "delete old servers": "howto/cleaning-up",
    "autoscaling": "howto/scaling",
    "terraform plan apply": "howto/apply-in-ci",
    "cost limit": "howto/limits",
    "sign in": "howto/signing-in",
    "profiles": "howto/signing-in",
    "ssh log in": "howto/after-the-status",
    "dynamic inventory": "howto/after-the-status",
    "service discovery": "howto/after-the-status",
    "resume rolling reboot": "howto/resuming-rolling",
    "continue interrupted": "howto/resuming-rolling",
    "server stuck": "howto/stuck-servers",
    "sold out": "howto/alternatives",
    "out of stock": "howto/alternatives",
    "fallback location": "howto/alternatives",
    "alternatives": "howto/alternatives",
    "change operating system": "howto/replacing-an-os",
    "rebuild image": "howto/replacing-an-os",
    "journal temporal dbos airflow": "howto/surviving-crashes",
    "idempotency key": "howto/surviving-crashes",
    "graceful shutdown": "howto/shutdown",
    "deadline": "howto/call-options",
    "wait in another process": "howto/another-process",
    "celery": "howto/without-async",
    "synchronous client": "howto/without-async",
    "cloud-init": "howto/usable-servers",
    "fields None in list": "howto/lists",
    "resize plan": "dialects",
    "doctl": "howto/from-other-commands",
    "doctor": "howto/live-doctor",
    "ci job cleanup": "howto/fleet-in-ci",
    "exit codes": "cli",
    "json output": "reference/json",
    "emulator": "howto/testing",
    "root password": "faq",
    "python 3.15": "faq",
    "webhooks": "faq",
    "install": "tutorial",
    "performance": "benchmarks",
    "which python versions are tested": "tests",
    "coverage": "tests",
    "mutation testing": "tests",
}
HITS = 3

SEARCH = """
const fs = require("fs"), vm = require("vm"), [site, questions] = JSON.parse(process.argv[1]);
const part = {dataset: {}, remove() {}, querySelectorAll: () => [], childNodes: []};
const page = {documentElement: part, getElementById: () => part, addEventListener() {}, readyState: "loading"};
const context = vm.createContext({
    document: page, URLSearchParams, console, SPHINX_HIGHLIGHT_ENABLED: false,
    DOCUMENTATION_OPTIONS: {SHOW_SEARCH_SUMMARY: false, FILE_SUFFIX: ".html", LINK_SUFFIX: ".html"},
    _removeChildren() {}, _ready() {}, _: (text) => text,
});
context.window = context;
for (const file of ["_static/language_data.js", "_static/searchtools.js", "searchindex.js"]) {
    vm.runInContext(fs.readFileSync(`${site}/${file}`, "utf8"), context, {filename: file});
}
context.questions = questions;
vm.runInContext(`
    answers = questions.map((question) => {
        const hits = Search._performSearch(...Search._parseQuery(question));
        return [...new Set(hits.reverse().map((hit) => hit[0]))];
    });
`, context);
console.log(JSON.stringify(context.answers));
"""


def main(site: str) -> int:
    """Ask all questions, and return the number of those whose page is not among the first hits."""
    asked = json.dumps([str(Path(site).resolve()), list(QUESTIONS)])
    done = subprocess.run(["node", "-e", SEARCH, asked], stdout=subprocess.PIPE, text=True, check=True)
    missed = 0
    for (question, page), hits in zip(QUESTIONS.items(), json.loads(done.stdout), strict=True):
        if page not in hits[:HITS]:
            missed += 1
            print(f"{question!r} does not find {page}, but {', '.join(hits[:HITS])}")
    print(f"{len(QUESTIONS) - missed} of {len(QUESTIONS)} questions find their page in the first {HITS} hits")
    return missed


if __name__ == "__main__":
    sys.exit(bool(main(*sys.argv[1:])))
