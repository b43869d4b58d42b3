"""Makes an index.yaml of any size in the shape that ``helm repo index`` writes."""

import random
import re
from hashlib import sha256

import yaml

_CREATED = re.compile(r"(created: )'([^']*)'")  # Go quotes times twice
_WORDS = (
    "cluster",
    "operator",
    "A Helm chart for",
    "Kubernetes",
    "deploys",
    "it's",
    "the",
    "and",
    "metrics",
    "§",
)


def make_index(charts: int, size_bytes: int, seed: int = 0) -> bytes:
    """Return an index of ``charts`` charts, ``chart-000`` and so on, of about ``size_bytes`` together."""
    chance = random.Random(seed)
    parts = ["apiVersion: v1\nentries:\n"]
    for number in range(charts):
        name = f"chart-{number:03d}"
        parts.append(f"  {name}:\n")
        parts.extend(_versions(chance, name, size_bytes // charts))
    parts.append('generated: "2026-07-02T19:19:04.653416281Z"\n')
    return "".join(parts).encode()


def _versions(chance: random.Random, name: str, size_bytes: int) -> list[str]:
    versions: list[str] = []
    written = 0
    while written < size_bytes:
        text = yaml.dump([_entry(chance, name, len(versions))], Dumper=yaml.CSafeDumper, allow_unicode=True)
        text = _CREATED.sub(r'\1"\2"', text)
        versions.append("".join(f"  {line}\n" for line in text.splitlines()))
        written += len(versions[-1])
    return versions


def _entry(chance: random.Random, name: str, number: int) -> dict[str, object]:
    version = f"{number // 100}.{number // 10 % 10}.{number % 10}"
    return {
        "apiVersion": "v2",
        "appVersion": f"{number // 10}.{number % 10}",
        "annotations": {"artifacthub.io/changes": "- kind: fixed\n  description: it's fixed\n"},
        "created": f"2024-03-{1 + number % 28:02d}T13:04:19.{chance.randrange(10**9):09d}Z",
        "dependencies": [{"name": "common", "repository": "https://charts.example/", "version": "1.x.x"}],
        "description": " ".join(chance.choices(_WORDS, k=40)),
        "digest": sha256(f"{name}-{version}".encode()).hexdigest(),
        "home": f"https://example.org/{name}",
        "keywords": [name, "database"],
        "kubeVersion": ">=1.25.0-0",
        "maintainers": [{"email": "team@example.org", "name": "Team"}],
        "name": name,
        "sources": [f"https://git.example/{name}"],
        "type": "application",
        "urls": [f"https://charts.example/{name}-{version}.tgz"],
        "version": version,
    }
