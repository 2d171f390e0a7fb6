"""Users, grants and revocations in any order, against a plain model of the policy."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from runnerd.access import (
    Action,
    Directory,
    Key,
    Permission,
    Principal,
    Rules,
    User,
    by_any_key,
    user_principal,
)
from runnerd.access.model_patterns import granted
from runnerd.access.permissions import NEEDED
from runnerd.access.users import key_digest
from runnerd.errors import PermissionMissing, Unauthorized

NAMES = ("ai/one:latest", "ai/two:latest", "huggingface.co/org/three:Q4")
PATTERNS = {"ai/*": NAMES[:2], "two": NAMES[1:2], "hf.co/*": NAMES[2:], "*": NAMES}
PERMISSIONS = st.frozensets(st.sampled_from(list(Permission)))
GRANTS = st.lists(st.sampled_from(sorted(PATTERNS)), max_size=2).map(tuple)


@dataclass
class Plain:
    """What is known of one key: whose it is, and until when."""

    user: str
    expires: float | None
    principal: Principal | None = None  # of a connection that has shown it
    seen: set[str] = field(default_factory=set)


class PolicyMachine(RuleBasedStateMachine):
    """The rules are asked after each step; the model is three dictionaries and a number."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.users: dict[str, User] = {}
        self.of: dict[str, Plain] = {}  # by secret
        self.policy = Rules(lambda: self.now)
        self.count = 0

    def publish(self) -> None:
        keys = [
            Key(f"id {secret}", plain.user, key_digest(secret), 0.0, plain.expires)
            for secret, plain in self.of.items()
        ]
        self.policy.adopt(Directory(self.users.values(), keys))

    @rule(target=keys, permissions=PERMISSIONS, models=GRANTS, lives=st.none() | st.integers(1, 9))
    def add(
        self, permissions: frozenset[Permission], models: tuple[str, ...], lives: int | None
    ) -> str:
        self.count += 1
        user = User(f"user{self.count}", f"name{self.count}", permissions, models)
        self.users[user.id] = user
        return self._key(user.id, lives)

    def _key(self, user: str, lives: int | None) -> str:
        secret = f"{self.count:04}{len(self.of):04}".ljust(43, "k")
        self.of[secret] = Plain(user, None if lives is None else self.now + lives)
        self.publish()
        return secret

    @rule(secret=keys, permissions=PERMISSIONS, models=GRANTS)
    def edit(
        self, secret: str, permissions: frozenset[Permission], models: tuple[str, ...]
    ) -> None:
        user = self.users.get(self.of[secret].user) if secret in self.of else None
        if user is not None:
            self.users[user.id] = replace(user, permissions=permissions, models=models)
            self.publish()

    @rule(secret=keys, disabled=st.booleans())
    def disable(self, secret: str, disabled: bool) -> None:
        user = self.users.get(self.of[secret].user) if secret in self.of else None
        if user is not None:
            self.users[user.id] = replace(user, disabled=disabled)
            self.publish()

    @rule(secret=keys)
    def connect(self, secret: str) -> None:
        """A connection shows its key; what it was found to be is kept from then on."""
        if self._counts(secret):
            self.of[secret].principal = self.policy.authenticate(secret)

    @rule(secret=consumes(keys))
    def revoke(self, secret: str) -> None:
        plain = self.of.pop(secret)
        self.publish()
        if plain.principal is not None:
            for action in Action:
                self._refused(plain.principal, action)

    @rule(secret=keys)
    def remove_user(self, secret: str) -> None:
        if secret in self.of:
            self.users.pop(self.of[secret].user, None)
            self.publish()

    @rule(secret=keys, action=st.sampled_from(list(Action)))
    def go_on(self, secret: str, action: Action) -> None:
        """What goes on for a user whose keys may be others by now counts by each of them."""
        if secret not in self.of:
            return
        user = self.of[secret].user
        principal = by_any_key(user_principal(user, f"id {secret}"))
        known = [other for other, plain in self.of.items() if plain.user == user]
        if not any(self._counts(other) for other in known):
            self._refused(principal, action)
        else:
            assert self.policy.limits(principal) == self.users[user].limits

    @rule(target=keys, secret=keys, lives=st.none() | st.integers(1, 9))
    def add_key(self, secret: str, lives: int | None) -> str:
        """One more key of the same user."""
        self.count += 1
        return self._key(self.of[secret].user, lives)

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    def _counts(self, secret: str) -> bool:
        plain = self.of.get(secret)
        user = None if plain is None else self.users.get(plain.user)
        if plain is None or user is None or user.disabled:
            return False
        return plain.expires is None or plain.expires > self.now

    def _refused(self, principal: Principal, action: Action) -> None:
        try:
            self.policy.check(principal, action)
        except Unauthorized:
            return
        raise AssertionError(f"{principal} may {action}")

    @invariant()
    def a_key_is_worth_what_it_is_worth_now(self) -> None:
        for secret in self.of:
            try:
                found = self.policy.authenticate(secret)
            except Unauthorized:
                found = None
            assert (found is not None) is self._counts(secret)

    @invariant()
    def connections_may_what_their_users_may(self) -> None:
        for secret, plain in self.of.items():
            principal = plain.principal
            if principal is None:
                continue
            if not self._counts(secret):
                for action in Action:
                    self._refused(principal, action)
                continue
            user = self.users[plain.user]
            self._may_what(principal, user)
            sees: tuple[str, ...] = NAMES
            if user.models and Permission.SUPERUSER not in user.permissions:
                of_any = {name for pattern in user.models for name in PATTERNS[pattern]}
                sees = tuple(name for name in NAMES if name in of_any)
            grants = self.policy.grants(principal)
            assert (NAMES if grants is None else granted(grants, NAMES)) == sees

    def _may_what(self, principal: Principal, user: User) -> None:
        for action, needed in NEEDED.items():
            may = needed is None or bool({needed, Permission.SUPERUSER} & user.permissions)
            missing = None
            try:
                self.policy.check(principal, action)
            except PermissionMissing as error:
                missing = error.permission
            assert missing == (None if may else needed)


TestPolicyMachine = PolicyMachine.TestCase
