"""The schema, as the steps that lead to it.

Step n brings a database from version n-1 to n; `user_version` in its header says where it stands.
Steps are never changed once they were released, only added, and there is no way back: an older
daemon refuses a newer file instead of guessing what it means.
"""

from __future__ import annotations

import sqlite3

from runnerd.database import jobs_schema as jobs
from runnerd.errors import StartupError

APPLICATION_ID = 0x72756E64  # "rund" in the file's header: whose database it is

MOST_AUDIT_ENTRIES = 100_000

STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE users (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            name_key TEXT NOT NULL UNIQUE,
            permissions TEXT NOT NULL,
            models TEXT NOT NULL,
            limits TEXT NOT NULL,
            expires REAL,
            disabled INTEGER NOT NULL,
            created REAL NOT NULL
        ) STRICT""",
        """CREATE TABLE keys (
            id TEXT PRIMARY KEY,
            user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
            digest TEXT NOT NULL UNIQUE,
            created REAL NOT NULL,
            expires REAL,
            label TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX keys_of_user ON keys (user_id)",
        # Days are counted since 1970, in UTC.
        """CREATE TABLE usage (
            day INTEGER NOT NULL,
            principal TEXT NOT NULL,
            model TEXT NOT NULL,
            who TEXT NOT NULL,
            model_name TEXT NOT NULL,
            requests INTEGER NOT NULL,
            failures INTEGER NOT NULL,
            prompt_tokens INTEGER NOT NULL,
            completion_tokens INTEGER NOT NULL,
            PRIMARY KEY (day, principal, model)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE audit (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            time REAL NOT NULL,
            principal TEXT NOT NULL,
            who TEXT NOT NULL,
            action TEXT NOT NULL,
            route TEXT NOT NULL,
            subject TEXT NOT NULL,
            status INTEGER NOT NULL
        ) STRICT""",
        """CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'entries of the audit are never changed'); END""",
        f"""CREATE TRIGGER audit_loses_only_its_oldest BEFORE DELETE ON audit
        WHEN OLD.id > (SELECT max(id) FROM audit) - {MOST_AUDIT_ENTRIES}
        BEGIN SELECT RAISE(ABORT, 'only the oldest entries of the audit may go'); END""",
    ),
    (
        # What users ask the owner for.
        """CREATE TABLE approvals (
            id TEXT PRIMARY KEY,
            user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
            kind TEXT NOT NULL,
            details TEXT NOT NULL,
            created REAL NOT NULL,
            reason TEXT NOT NULL,
            state TEXT NOT NULL,
            failure TEXT,
            decided REAL,
            decided_by TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX approvals_of_user ON approvals (user_id, state)",
    ),
    jobs.STEP,
    (
        # Conversations that stay.
        """CREATE TABLE sessions (
            id TEXT PRIMARY KEY,
            principal TEXT NOT NULL,
            model TEXT NOT NULL,
            model_name TEXT NOT NULL,
            name TEXT NOT NULL,
            kind TEXT NOT NULL,
            system TEXT NOT NULL,
            parameters TEXT NOT NULL,
            details TEXT NOT NULL,
            created REAL NOT NULL,
            used REAL NOT NULL,
            expires REAL NOT NULL,
            turns INTEGER NOT NULL,
            bytes INTEGER NOT NULL
        ) STRICT""",
        """CREATE UNIQUE INDEX sessions_by_name ON sessions (principal, name)
        WHERE name != ''""",
        "CREATE INDEX sessions_of_principal ON sessions (principal, used)",
        "CREATE INDEX sessions_by_end ON sessions (expires)",
        """CREATE TABLE turns (
            session TEXT NOT NULL REFERENCES sessions ON DELETE CASCADE,
            number INTEGER NOT NULL,
            prompt TEXT NOT NULL,
            response TEXT NOT NULL,
            created REAL NOT NULL,
            state TEXT NOT NULL,
            reasoning TEXT NOT NULL,
            finish_reason TEXT NOT NULL,
            prompt_tokens INTEGER NOT NULL,
            cached_tokens INTEGER NOT NULL,
            completion_tokens INTEGER NOT NULL,
            PRIMARY KEY (session, number)
        ) STRICT, WITHOUT ROWID""",
        # OpenAI's: responses that a later request may go on from, all of one `root`, and
        # conversations with their items.
        """CREATE TABLE responses (
            id TEXT PRIMARY KEY,
            principal TEXT NOT NULL,
            root TEXT NOT NULL,
            previous TEXT,
            conversation TEXT,
            position INTEGER NOT NULL,
            input TEXT NOT NULL,
            response TEXT NOT NULL,
            created REAL NOT NULL,
            expires REAL NOT NULL,
            bytes INTEGER NOT NULL,
            hidden INTEGER NOT NULL
        ) STRICT""",
        "CREATE INDEX responses_of_principal ON responses (principal, root, created, bytes)",
        "CREATE INDEX responses_of_root ON responses (root, hidden, expires)",
        """CREATE TABLE response_items (
            id TEXT NOT NULL,
            response TEXT NOT NULL REFERENCES responses ON DELETE CASCADE,
            PRIMARY KEY (id, response)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX items_of_response ON response_items (response)",
        """CREATE TABLE conversations (
            id TEXT PRIMARY KEY,
            principal TEXT NOT NULL,
            metadata TEXT NOT NULL,
            created REAL NOT NULL,
            used REAL NOT NULL,
            expires REAL NOT NULL,
            items INTEGER NOT NULL,
            bytes INTEGER NOT NULL
        ) STRICT""",
        "CREATE INDEX conversations_of_principal ON conversations (principal, used, bytes)",
        """CREATE TABLE conversation_items (
            conversation TEXT NOT NULL REFERENCES conversations ON DELETE CASCADE,
            position INTEGER NOT NULL,
            id TEXT NOT NULL,
            item TEXT NOT NULL,
            PRIMARY KEY (conversation, position)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX conversation_items_by_id ON conversation_items (conversation, id)",
    ),
    (
        # What Pantry's registry says of models: of those that are here, and of what could be.
        """CREATE TABLE llms (
            uuid TEXT PRIMARY KEY,
            model TEXT NOT NULL,
            tag TEXT NOT NULL,
            entry TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE catalogue (
            id TEXT PRIMARY KEY,
            entry TEXT NOT NULL
        ) STRICT""",
        # Users that nobody let in: they have registered themselves.
        """CREATE TABLE registrations (
            user_id TEXT PRIMARY KEY REFERENCES users ON DELETE CASCADE,
            created REAL NOT NULL
        ) STRICT""",
    ),
    (
        # Why the owner has decided so.
        "ALTER TABLE approvals ADD COLUMN decision_reason TEXT NOT NULL DEFAULT ''",
    ),
    (
        # What users show at registries and hubs.
        """CREATE TABLE logins (
            user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
            host TEXT NOT NULL,
            username TEXT NOT NULL,
            secret TEXT NOT NULL,
            created REAL NOT NULL,
            PRIMARY KEY (user_id, host)
        ) STRICT, WITHOUT ROWID""",
    ),
    jobs.BYTES_STEP,
    jobs.OWN_IDS_STEP,
    (
        # Who has said a registry entry, and what sources say of models that were pulled.
        "ALTER TABLE llms ADD COLUMN principal TEXT NOT NULL DEFAULT ''",
        """CREATE TABLE published (
            model TEXT NOT NULL,
            tag TEXT NOT NULL,
            said TEXT NOT NULL,
            PRIMARY KEY (model, tag)
        ) STRICT, WITHOUT ROWID""",
        # Images and sounds in prompts of sessions.
        "ALTER TABLE turns ADD COLUMN parts TEXT NOT NULL DEFAULT ''",
    ),
    jobs.GIVEN_BACK_STEP,
    jobs.SPELLING_STEP,
    jobs.RESULTS_STEP,
)

VERSION = len(STEPS)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database up to date, in one transaction.

    Raises errors.StartupError for one that a newer runnerd has written or that is no runnerd's.
    """
    check_version(connection)
    if version_of(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in STEPS[version_of(connection) :]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def version_of(connection: sqlite3.Connection) -> int:
    """The version of a database's schema, 0 for an empty one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_version(connection: sqlite3.Connection) -> None:
    """Raise errors.StartupError for a database that this runnerd must not touch."""
    version = version_of(connection)
    if version > VERSION:
        raise StartupError(
            f"the database was written by a newer runnerd (its version is {version}, this one"
            f" knows {VERSION}); install that version again, or move runnerd.db out of the state"
            " directory and restore a backup of this version with `runnerd restore`"
        )
    owner = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if owner != APPLICATION_ID and (version or _has_tables(connection)):
        raise StartupError("it is a database of another program, not runnerd's")


def _has_tables(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
