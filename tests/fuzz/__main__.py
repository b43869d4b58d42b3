"""Fuzz the targets one after another: ``python -m tests.fuzz [--seconds N] [NAME…]``.

What was tried and led somewhere new is kept from run to run, outside of this folder; what breaks a target is
written to a file, and the run fails.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.all_targets import TARGETS, found_once
from tests.fuzz.target import Target

_SECONDS_FOR_ONE_INPUT = 5
_MOST_MEMORY_MIB = 2048
_DONE = re.compile(r"#([0-9]+)\s+DONE\s+cov: ([0-9]+) .*?corp: ([0-9]+)")
_RAISED = re.compile(r"Uncaught Python exception.*?(?=\n\n|\n[A-Z]+:|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a target: how often it was tried, how many places of the code were reached."""

    name: str
    seconds: float
    tried: str
    covered: str
    kept: str
    findings: Sequence[Path]
    told: str

    def __str__(self) -> str:
        found = f"{len(self.findings)} FOUND" if self.findings else "none found"
        return f"{self.name:13}{self.seconds:6.0f} s{self.tried:>10}{self.covered:>9}{self.kept:>8}  {found}"


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    asked.add_argument("names", nargs="*", choices=[*TARGETS, []], metavar="NAME", help=", ".join(TARGETS))
    asked.add_argument("--seconds", type=int, default=600, help="for each target")
    asked.add_argument("--runs", type=int, help="the same so many inputs each time, of nothing learnt before")
    given = asked.parse_args()
    print(f"{'target':13}{'time':>8}{'tried':>10}{'covered':>9}{'corpus':>8}")
    broken = False
    for name in given.names or TARGETS:
        with tempfile.TemporaryDirectory() as nothing_learnt:
            place = corpus_folder() / name if given.runs is None else Path(nothing_learnt)
            run = fuzz(TARGETS[name], given.seconds, place, given.runs)
        print(run, flush=True)
        if run.told:
            broken = True
            print(run.told, flush=True)
    return int(broken)


def corpus_folder() -> Path:
    """Where what fuzzing learnt is kept, for every clone of this user."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "chart-gateway", "fuzz")


def fuzz(target: Target, seconds: int, folder: Path, runs: int | None = None) -> Run:
    repeatable = () if runs is None else (f"-runs={runs}", "-seed=1")
    corpus, findings = folder / "corpus", folder / "findings"
    for place in (corpus, findings):
        place.mkdir(parents=True, exist_ok=True)
    known = set(findings.iterdir())
    with tempfile.TemporaryDirectory() as work:
        seeds = _seeded(target, Path(work))
        words = Path(work, "words")
        words.write_text("".join(f'"{_quoted(word)}"\n' for word in (*target.words, "\0")))
        started = time.monotonic()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.one", target.name, str(corpus), str(seeds)),
                *(f"-max_total_time={seconds}", f"-max_len={target.max_bytes}", f"-dict={words}"),
                *repeatable,
                *(f"-timeout={_SECONDS_FOR_ONE_INPUT}", f"-rss_limit_mb={_MOST_MEMORY_MIB}"),
                *(f"-artifact_prefix={findings}/", "-print_final_stats=1"),
            ],
            capture_output=True,
            check=False,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    output = done.stdout + done.stderr
    last = _DONE.search(output)
    tried, covered, kept = last.groups() if last else ("?", "?", "?")
    new = sorted(set(findings.iterdir()) - known)
    return Run(
        target.name,
        time.monotonic() - started,
        tried,
        covered,
        kept,
        new,
        _told(target, done.returncode, new, output),
    )


def _seeded(target: Target, folder: Path) -> Path:
    seeds = folder / "seeds"
    seeds.mkdir()
    known = [*target.seeds, *(path.read_bytes() for path in found_once(target.name))]
    for place, content in enumerate(known):
        Path(seeds, str(place)).write_bytes(content)
    return seeds


def _quoted(word: str) -> str:
    """A word as libFuzzer's dictionaries have it."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


def _told(target: Target, status: int, findings: Sequence[Path], output: str) -> str:
    """What was raised, and how to see it again; empty where all went well."""
    if status == 0:
        return ""
    raised = _RAISED.search(output)
    told = raised[0] if raised else "\n".join(output.splitlines()[-20:])
    return told + "".join(f"\nagain: python -m tests.fuzz.one {target.name} {path}" for path in findings)


if __name__ == "__main__":
    sys.exit(main())
