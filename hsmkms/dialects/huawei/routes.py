"""Which operation a method and a path name, and which project.

Law: a path has one reading. Segments are split before they are unquoted; a segment that holds an escaped slash, and a
path with an empty segment, name nothing. One slash at the end is allowed: this cloud's signature adds it anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from hsmkms.core.errors import FieldInvalid
from hsmkms.dialects import strict_json

if TYPE_CHECKING:
    from hsmkms.dialects.base import RequestHead
    from hsmkms.dialects.strict_json import JsonObject

VERSIONS: Final = "versions"
VERSION: Final = "version"
PROJECTS: Final = "projects"

_GETS: Final = frozenset({"user-instances", "user-quotas"})
_POSTS: Final = frozenset(
    {
        "create-key",
        "describe-key",
        "list-keys",
        "get-parameters-for-import",
        "import-key-material",
        "delete-imported-key-material",
        "enable-key",
        "disable-key",
        "update-key-alias",
        "update-key-description",
        "schedule-key-deletion",
        "cancel-key-deletion",
        "get-key-rotation-status",
        "encrypt-data",
        "decrypt-data",
        "re-encrypt",
        "create-datakey",
        "create-datakey-without-plaintext",
        "encrypt-datakey",
        "decrypt-datakey",
        "gen-random",
    }
)
_WITHOUT_PROJECT: Final = {(): VERSIONS, ("v1.0",): VERSION, ("v3", "projects"): PROJECTS}


@dataclass(frozen=True, slots=True)
class Route:
    """What the request line names."""

    operation: str | None = None
    """None: no operation of this API."""
    project_id: str | None = None
    """None: the path has no place for it."""


def find(head: RequestHead) -> Route:
    """Return what `head` names."""
    path = head.path.removesuffix("/")
    segments = tuple(unquote(each) for each in path.split("/")[1:])
    if not head.path.startswith("/") or any(not each or "/" in each for each in segments):
        return Route()
    match segments:
        case ("v1.0", project_id, "kms", name):
            names = {"GET": _GETS, "POST": _POSTS}.get(head.method, frozenset())
            return Route(name if name in names else None, project_id)
        case ("v1.0" | "v2", project_id, "kms", *_):
            return Route(None, project_id)
        case _:
            return Route(_WITHOUT_PROJECT.get(segments) if head.method == "GET" else None)


def members(head: RequestHead, route: Route, body: bytes) -> JsonObject:
    """Return the members of the request: of a POST its body's, of a GET those of its query that count.

    Raises:
        BodyMalformed: the body of a POST is not one sound JSON object.
        FieldInvalid: the query names a project twice.
    """
    if head.method == "POST":
        return strict_json.read_object(body)
    if route.operation != PROJECTS:
        return {}
    parameters = [each.partition("=") for each in head.query.split("&")]
    names = [unquote(value) for name, _equals, value in parameters if unquote(name) == "name"]
    if len(names) > 1:
        raise FieldInvalid("name", "send it once.")
    return {"name": names[0]} if names else {}
