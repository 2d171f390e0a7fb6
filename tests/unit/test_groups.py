"""Groups of users, by the kernel and by the user database."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

from runnerd.sockets.groups import GroupMembers, groups_of, peer_groups


def test_of_a_unix_socket_the_kernel_says_them() -> None:
    """Our own, for a pair of ours."""
    left, right = socket.socketpair()
    with left, right:
        assert peer_groups(left) == frozenset(os.getgroups())


def test_a_uid_that_is_nobodys_has_none() -> None:
    """The user database does not know it; root has its own."""
    assert groups_of(2**31 - 7) == frozenset()
    assert 0 in groups_of(0)


async def test_many_wait_for_one_look() -> None:
    """A slow directory server costs one thread per user, however many connect."""
    asked, go = [], threading.Event()

    def look_up(uid: int) -> frozenset[int]:
        asked.append(uid)
        go.wait(60)
        return frozenset({uid + 1})

    members = GroupMembers(look_up)
    waiting = [asyncio.ensure_future(members.of(7)) for _ in range(20)]  # noqa: TID251
    await asyncio.sleep(0)
    assert members.known(7) is None
    go.set()
    assert await asyncio.gather(*waiting) == [frozenset({8})] * 20
    assert (asked, members.known(7)) == ([7], frozenset({8}))
