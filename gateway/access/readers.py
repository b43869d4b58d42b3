"""What somebody may read: one function for each kind of somebody, asked for every verb alike."""

from gateway.oci.errors import OciError, Situation
from gateway.rules.model import Access
from gateway.rules.route import Route


def admit_anyone(route: Route) -> None:
    """For a client that has not signed in; raise OciError NOT_SIGNED_IN for what is private."""
    if route.access is Access.PRIVATE:
        key = route.target.place if route.upstream is None else route.upstream.key
        raise OciError(
            Situation.NOT_SIGNED_IN,
            f"{route.name} is private, and this version has no sign-in: "
            f"`access: anonymous` on the upstream {key} would open it to all",
        )


def admit_operator(_route: Route) -> None:
    """For who runs commands on the data directory: they hold all of it already."""
