"""All benchmarks, in one run: ``python3 noxfile.py -s bench [-- --quick]``.

Prints what was measured and what got worse since the saved results, and never fails because of it. ``--publish`` saves
the results (benchmarks/baseline.json) and makes docs/benchmarks.md and its pictures from them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

# run as a module of the checkout as well as as a folder
sys.path.insert(0, str(Path(__file__).resolve().parent))

from amounts import FULL, QUICK
from environments import NewerPython, Peers
from figures import changes, figures
from machine import HERE, ROOT, about, versions
from page import write
from workloads import PARTS, Run

BASELINE = HERE / "baseline.json"
LAST = ROOT / ".nox" / "benchmarks.json"
LIBRARIES = ("vpsorg-async", "aiohttp", "attrs", "cattrs", "msgspec", "anyio", "uvloop")


def main() -> None:
    options = _options()
    if options.page:
        saved = _saved(options.results) or sys.exit(
            f"there are no saved results: {options.results} is missing"
        )
        _publish(saved, options.folder)
        return
    peers, newer = Peers(), NewerPython()
    if not options.no_peers:
        peers.prepare()
    if "python" in (options.only or ([] if options.quick else PARTS)):
        newer.prepare()
    if not peers.python:
        print(f"\n*** THE LIBRARIES OF OTHERS ARE SKIPPED: {peers.why} ***\n", file=sys.stderr)
    amount = QUICK if options.quick else FULL
    run = Run(amount, peers, newer)
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    results = {
        "date": today,
        "dates": dict.fromkeys(options.only or PARTS, today),
        "quick": options.quick,
        "sittings": amount.sittings,
        "machine": about(),
        "load": [os.getloadavg()[0]],
        "versions": versions(*LIBRARIES) | peers.versions,
        "peers": {"why": peers.why},
    }
    saved = _saved()
    if options.publish and options.only:
        _check_fits(results, saved)
    for name in options.only or PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results[name] = PARTS[name](run)
    results["load"].append(os.getloadavg()[0])
    LAST.parent.mkdir(exist_ok=True)
    LAST.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    _show(results, saved)
    if options.publish:
        if options.only and saved is not None:
            results = _merged(saved, results)
        BASELINE.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
        _publish(results, options.folder)


def _saved(file: Path = BASELINE) -> dict | None:
    return json.loads(file.read_text("utf-8")) if file.is_file() else None


def _show(results: dict, saved: dict | None) -> None:
    print("\nwhat is promised (at most), and what was measured")
    for figure in figures(results):
        unit = figure.form.partition("}")[2]
        limit = "" if figure.limit is None else f"{figure.limit:g}{unit}"
        name = figure.name.replace("`", "")
        print(f"  {name:<92} {limit:>9} {figure.shown:>10}{'' if figure.met else '  MISSED'}")
    print(f"\nall results: {LAST}; load of the machine, before and after: {results['load']}")
    if saved is None:
        print("no saved results to compare with")
        return
    print(f"\nagainst the results saved on {saved['date']}:")
    print("\n".join(f"  {line}" for line in changes(results, saved)))


def _check_fits(results: dict, saved: dict | None) -> None:
    """Refuse, before anything is measured, to publish parts that would stand beside others they do not belong to."""
    if saved is None:
        sys.exit("parts can be published beside saved results only: publish a whole run first")
    differing = [
        f"{name}: {theirs.get(name, 'none')} there, {ours.get(name, 'none')} here"
        for theirs, ours in ((saved[kind], results[kind]) for kind in ("machine", "versions"))
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name)
    ]
    if differing:
        sys.exit("parts can't be published beside the saved ones, which differ: " + "; ".join(differing))


def _merged(saved: dict, results: dict) -> dict:
    """The saved results with the parts that were measured anew in their place."""
    parts = {name: results[name] for name in results["dates"]}
    dates = {name: results["dates"].get(name) or saved["dates"][name] for name in saved["dates"] | parts}
    return saved | parts | {"date": results["date"], "dates": dates, "load": results["load"]}


def _publish(results: dict, folder: Path) -> None:
    for file in write(results, folder):
        print(f"wrote {file}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 noxfile.py -s bench --", description="Run the benchmarks.")
    parser.add_argument("--quick", action="store_true", help="less of everything: under three minutes")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--no-peers", action="store_true", help="without the libraries of others")
    parser.add_argument("--publish", action="store_true", help="save the results, make the page from them")
    parser.add_argument(
        "--page", action="store_true", help="make the page from the saved results, measure nothing"
    )
    parser.add_argument("--results", type=Path, default=BASELINE, help="with --page: other saved results")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs", help="where the page is written to")
    options = parser.parse_args()
    if options.page and (options.quick or options.only or options.no_peers or options.publish):
        parser.error("--page measures nothing, and goes alone")
    if options.publish and options.quick:
        parser.error("the results of a quick run are too rough to be published")
    return options


if __name__ == "__main__":
    main()
