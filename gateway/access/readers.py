"""What somebody may read: one function for each kind of somebody, asked for every verb alike."""

from gateway.oci.errors import OciError, Situation
from gateway.rules.model import Access
from gateway.rules.route import Route


def admit_anyone(route: Route) -> None:
    """For a client that has not signed in; raise OciError NOT_SIGNED_IN for what is private."""
    if route.upstream is not None and route.upstream.access is Access.PRIVATE:
        raise OciError(
            Situation.NOT_SIGNED_IN,
            f"{route.name} is private, and this version has no sign-in: "
            f"`access: anonymous` on the upstream {route.upstream.key} would open it to all",
        )


def admit_operator(_route: Route) -> None:
    """For who runs commands on the data directory: they hold all of it already."""
