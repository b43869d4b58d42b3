"""``python -m bench [--json] [NAME…]``: run all benches, or those named; exit 0 whatever they find."""

import argparse
import json
import os

from bench import (
    big,
    blobs,
    bundles,
    classic,
    cold,
    collecting,
    convert,
    dead,
    desk,
    hung,
    lag,
    many,
    overload,
    reloads,
    rules,
    stampede,
    start,
    sync,
    warm,
)
from bench.figures import Figure, as_table

BENCHES = {
    "cold": cold.run,
    "warm": warm.run,
    "blobs": blobs.run,
    "start": start.run,
    "lag": lag.run,
    "convert": convert.run,
    "rules": rules.run,
    "reloads": reloads.run,
    "stampede": stampede.run,
    "hung": hung.run,
    "overload": overload.run,
    "many": many.run,
    "dead": dead.run,
    "big": big.run,
    "collecting": collecting.run,
    "bundles": bundles.run,
    "classic": classic.run,
    "sync": sync.run,
    "desk": desk.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure; print ratios of one run.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHES)}; all but desk without one"
    )
    parser.add_argument("--json", action="store_true", dest="is_json")
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    load = os.getloadavg()[0]
    figures: list[Figure] = []
    for name in options.names or (
        name for name in BENCHES if name != "desk"
    ):  # which fills catalogs for an hour
        figures += BENCHES[name]()
    if options.is_json:
        print(json.dumps([figure.to_json() for figure in figures], ensure_ascii=False, indent=2))
    else:
        print(as_table(figures))
        print(f"\nMedians of several rounds on {os.cpu_count()} cores; load average before {load:.1f}.")


if __name__ == "__main__":
    main()
