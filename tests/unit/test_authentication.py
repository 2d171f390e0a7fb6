"""Who makes a request, by the credential of its head."""

from __future__ import annotations

import pytest

from runnerd.access import NOBODY, Principal, user_principal
from runnerd.errors import Unauthorized
from runnerd.relay.authentication import forwarded_for, identify
from runnerd.relay.messages import Request

ANN = user_principal("u", "k")


def authenticate(secret: str) -> Principal | None:
    if secret == "unused":
        return None
    if secret != "right":
        raise Unauthorized("the key is not valid")
    return ANN


def request(*headers: tuple[bytes, bytes]) -> Request:
    made = Request("POST", b"/", "/", [*headers], True, True, 0, False, "id")
    identify(made, authenticate)
    return made


@pytest.mark.parametrize(
    ("headers", "principal"),
    [
        ([], NOBODY),
        ([(b"x-api-key", b"right")], ANN),
        ([(b"authorization", b"Bearer right")], ANN),
        ([(b"authorization", b"Bearer unused")], NOBODY),
    ],
)
def test_whose_it_is(headers: list[tuple[bytes, bytes]], principal: Principal) -> None:
    """The user's whose key it shows, else that of whoever is at the other end; also repeated."""
    made = request(*headers)
    assert made.principal(lambda said: NOBODY) == principal
    assert made.repeated(b"{}").principal(lambda said: NOBODY) == principal


def test_a_credential_that_does_not_count() -> None:
    """It is told when somebody asks, every time."""
    made = request((b"x-api-key", b"wrong"))
    for _ in range(2):
        with pytest.raises(Unauthorized):
            made.principal(lambda said: NOBODY)


def test_whom_a_proxy_names() -> None:
    """Some hops back, over all lines together; an address that is cut through is none."""
    line = (b"x-forwarded-for", b", ".join([b"110.1.1.1"] * 20))
    assert forwarded_for([line]).split(",") == ["110.1.1.1", *[" 110.1.1.1"] * 19]
    many = forwarded_for([line] * 100)
    assert len(many) <= 1024
    assert {each.strip() for each in many.split(",")} == {"110.1.1.1"}
    assert forwarded_for([(b"x-forwarded-for", b"1" * 5000)]) == "unknown"
    assert forwarded_for([(b"via", b"1.1 proxy")]) == "unknown"
    assert forwarded_for([]) == ""
