from __future__ import annotations

import pytest

from hsmkms.core import errors
from hsmkms.dialects.base import RequestHead
from hsmkms.dialects.huawei.codec import OPERATIONS
from hsmkms.dialects.huawei.routes import PROJECTS, VERSION, VERSIONS, Route, find, members

GETS = {"user-instances", "user-quotas"}
POSTS = set(OPERATIONS) - GETS - {PROJECTS}


def found(method: str, target: str) -> Route:
    return find(RequestHead(method, target, ()))


@pytest.mark.parametrize("name", sorted(POSTS | GETS))
def test_every_operation_of_a_project_has_one_method_and_one_path(name: str) -> None:
    right, wrong = ("GET", "POST") if name in GETS else ("POST", "GET")
    assert found(right, f"/v1.0/acme/kms/{name}") == Route(name, "acme")
    assert found(right, f"/v1.0/acme/kms/{name}/?x=1") == Route(name, "acme")
    assert found(wrong, f"/v1.0/acme/kms/{name}") == Route(None, "acme")
    assert found(right, f"/v2/acme/kms/{name}") == Route(None, "acme")
    assert found(right, f"/v1.0/acme/kms/{name}//") == Route()
    assert found(right, f"/v1.0/acme/kms/{name}/x") == Route(None, "acme")


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        ("GET", "/", Route(VERSIONS)),
        ("GET", "/?x=1", Route(VERSIONS)),
        ("POST", "/", Route()),
        ("GET", "", Route()),
        ("GET", "//", Route()),
        ("GET", "/v1.0", Route(VERSION)),
        ("GET", "/v1.0/", Route(VERSION)),
        ("GET", "/v1.0//", Route()),
        ("HEAD", "/v1.0", Route()),
        ("GET", "/v2", Route()),
        ("GET", "/v3/projects?name=cn-north-7", Route(PROJECTS)),
        ("GET", "/v3/projects/acme", Route()),
        ("POST", "/v3/projects", Route()),
        ("GET", "/v1.0/x", Route()),
        ("GET", "/v1.0/x/y", Route()),
        ("POST", "/v1.0/acme/KMS/create-key", Route()),
        ("GET", "/v2/acme/kms/regions?limit=10&offset=0", Route(None, "acme")),
        ("POST", "/v1.0/acme/kms/create-grant", Route(None, "acme")),
        ("POST", "/v1.0/acme/kms/acme/tags", Route(None, "acme")),
        ("POST", "/v1.0/%61cme/kms/create%2Dkey", Route("create-key", "acme")),
        ("POST", "/v1.0/%7Bproject_id%7D/kms/create-key", Route("create-key", "{project_id}")),
        ("POST", "/v1.0/a%2Fb/kms/create-key", Route()),
        ("POST", "/v1.0/acme%2fkms%2fcreate-key", Route()),
        ("POST", "/v1.0//kms/create-key", Route()),
        ("POST", "/v1.0/acme/./kms/create-key", Route()),
        ("POST", "http://h/v1.0/acme/kms/create-key", Route()),
    ],
)
def test_a_path_has_one_reading(method: str, target: str, route: Route) -> None:
    assert found(method, target) == route


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("", {}),
        ("name=cn-north-7", {"name": "cn-north-7"}),
        ("domain_id=x&name=a%20b&enabled=true", {"name": "a b"}),
        ("names=x", {}),
        ("name", {"name": ""}),
    ],
)
def test_of_a_query_only_the_name_of_a_project_counts(query: str, read: dict[str, str]) -> None:
    head = RequestHead("GET", f"/v3/projects?{query}", ())
    assert members(head, find(head), b"not JSON") == read


def test_a_project_named_twice_is_refused() -> None:
    head = RequestHead("GET", "/v3/projects?name=a&n%61me=b", ())
    with pytest.raises(errors.FieldInvalid):
        members(head, find(head), b"")


def test_the_members_of_a_post_are_its_bodys_and_not_its_querys() -> None:
    head = RequestHead("POST", "/v1.0/acme/kms/describe-key?name=x", ())
    assert members(head, find(head), b'{"key_id": "x"}') == {"key_id": "x"}
    with pytest.raises(errors.BodyMalformed):
        members(head, find(head), b"")
