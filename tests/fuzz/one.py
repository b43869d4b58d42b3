"""Fuzz one target, or try a file on it: ``python -m tests.fuzz.one NAME [FILE | libFuzzer's options]``."""

import sys

import atheris

with atheris.instrument_imports(include=["gateway"]):
    from tests.fuzz.all_targets import TARGETS

if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    atheris.enabled_hooks.add("str")
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name].check)
    atheris.Fuzz()
