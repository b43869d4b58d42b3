"""The place upstream that a name stands for: a host, a path on it, and the last name."""

from dataclasses import dataclass

from gateway.oci.repository import Repository


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """``argoproj.github.io/argo-helm/argo-cd``: ``place`` is host and path, ``chart`` the last name."""

    repository: Repository

    def __str__(self) -> str:
        return self.repository.name

    @property
    def host(self) -> str:
        return self.repository.name.partition("/")[0]

    @property
    def place(self) -> str:
        return self.repository.name.rpartition("/")[0]

    @property
    def chart(self) -> str:
        return self.repository.name.rpartition("/")[2]

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read a target; OciError NAME_BREAKS_GRAMMAR like any name, but the host may have a port."""
        return cls(Repository.parse_with_port(text))
