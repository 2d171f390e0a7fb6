"""The tables of the job queue, as a step of the schema.

What is claimed by is in the row of a job, which is short; prompts, output and responses may be
large and lie in tables of their own, so that a change of state does not write them again.
"""

from __future__ import annotations


def _count(event: str, changes: str, condition: str = "true") -> str:
    return f"""CREATE TRIGGER job_counts_{event.split()[0].lower()} AFTER {event} ON jobs
        WHEN {condition} BEGIN {changes} END"""


_MORE = """INSERT INTO job_counts (principal, model, state, number)
    VALUES (NEW.principal, NEW.model, NEW.state, 1)
    ON CONFLICT DO UPDATE SET number = number + 1;"""
_FEWER = """UPDATE job_counts SET number = number - 1
    WHERE principal = OLD.principal AND model = OLD.model AND state = OLD.state;"""

STEP = (
    # `owner` is the principal as JSON; `rank` is the order in which jobs are claimed, `due` when
    # one that was tried may be tried again; `token` grows with each claim, and `epoch` names the
    # opening of the database in which it was claimed.
    """CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        principal TEXT NOT NULL,
        owner TEXT NOT NULL,
        model TEXT NOT NULL,
        state TEXT NOT NULL,
        created REAL NOT NULL,
        priority INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        due REAL,
        deadline REAL,
        runtime REAL,
        grp TEXT NOT NULL,
        copy INTEGER NOT NULL,
        streams INTEGER NOT NULL,
        details TEXT NOT NULL,
        token INTEGER NOT NULL,
        worker TEXT,
        epoch TEXT,
        started REAL,
        ended REAL,
        attempts TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX jobs_ready ON jobs (rank, seq) WHERE state = 'queued' AND due IS NULL",
    """CREATE INDEX jobs_ready_of_model ON jobs (model, rank, seq)
        WHERE state = 'queued' AND due IS NULL""",
    "CREATE INDEX jobs_due ON jobs (due) WHERE state = 'queued' AND due IS NOT NULL",
    "CREATE INDEX jobs_running ON jobs (seq) WHERE state = 'running'",
    """CREATE INDEX jobs_with_deadline ON jobs (deadline)
        WHERE deadline IS NOT NULL AND ended IS NULL""",
    "CREATE INDEX jobs_ended ON jobs (ended) WHERE ended IS NOT NULL",
    "CREATE INDEX jobs_of_principal ON jobs (principal, seq)",
    "CREATE INDEX jobs_of_group ON jobs (grp, seq) WHERE grp != ''",
    """CREATE TABLE job_prompts (
        seq INTEGER PRIMARY KEY,
        prompts BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE job_output (
        id INTEGER PRIMARY KEY,
        seq INTEGER NOT NULL,
        text TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX job_output_of_job ON job_output (seq, id)",
    """CREATE TABLE job_responses (
        id INTEGER PRIMARY KEY,
        seq INTEGER NOT NULL,
        status INTEGER NOT NULL,
        content_type TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX job_responses_of_job ON job_responses (seq, id)",
    # The last turn that a principal was given, and the last one that was served.
    """CREATE TABLE job_turns (
        principal TEXT PRIMARY KEY,
        turn INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE job_clock (served INTEGER NOT NULL) STRICT",
    "INSERT INTO job_clock (served) VALUES (0)",
    """CREATE TABLE job_counts (
        principal TEXT NOT NULL,
        model TEXT NOT NULL,
        state TEXT NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (principal, model, state)
    ) STRICT, WITHOUT ROWID""",
    # What was uploaded for batches, and the batches; a batch's jobs are the group of its name.
    """CREATE TABLE files (
        id TEXT PRIMARY KEY,
        principal TEXT NOT NULL,
        name TEXT NOT NULL,
        purpose TEXT NOT NULL,
        size INTEGER NOT NULL,
        created REAL NOT NULL
    ) STRICT""",
    "CREATE INDEX files_of_principal ON files (principal)",
    """CREATE TABLE batches (
        id TEXT PRIMARY KEY,
        principal TEXT NOT NULL,
        stage TEXT NOT NULL,
        created REAL NOT NULL,
        batch TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX batches_of_principal ON batches (principal, created)",
    _count("INSERT", _MORE),
    _count("DELETE", _FEWER),
    _count("UPDATE OF state", _FEWER + _MORE, "OLD.state != NEW.state"),
)

OWN_IDS_STEP = (
    # Ids that users have chosen are theirs alone, as those of new jobs are (`jobs/job.chosen_id`);
    # the others were made by the daemon: of the time and at random, of a batch's line, or of what
    # was asked.  A day is for clocks that were put back; an id of another time is a user's.
    """UPDATE jobs SET id = id || '~' || lower(hex(principal))
        WHERE NOT (length(id) = 32 AND id NOT GLOB '*[^0-9a-f]*'
            AND id BETWEEN printf('%012x', CAST((created - 86400) * 1000 AS INTEGER))
            AND printf('%012x', CAST((created + 86400) * 1000 AS INTEGER)))
        AND grp NOT GLOB 'batch_*' AND id NOT GLOB 'protollm-*'""",
    "ALTER TABLE jobs ADD COLUMN waited_for INTEGER NOT NULL DEFAULT 0",
)

_OF = "(SELECT principal FROM jobs WHERE seq = {row}.seq)"

GIVEN_BACK_STEP = (
    # How often workers have given a job back untouched.
    "ALTER TABLE jobs ADD COLUMN given_back INTEGER NOT NULL DEFAULT 0",
)

BYTES_STEP = (
    # How much of each principal's prompts is kept, of jobs that have ended, too.
    """CREATE TABLE job_bytes (
        principal TEXT PRIMARY KEY,
        bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    """INSERT INTO job_bytes (principal, bytes)
        SELECT principal, sum(length(prompts)) FROM jobs JOIN job_prompts USING (seq)
        GROUP BY principal""",
    f"""CREATE TRIGGER job_bytes_insert AFTER INSERT ON job_prompts BEGIN
        INSERT INTO job_bytes (principal, bytes)
        VALUES ({_OF.format(row="NEW")}, length(NEW.prompts))
        ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes; END""",
    f"""CREATE TRIGGER job_bytes_delete BEFORE DELETE ON job_prompts BEGIN
        UPDATE job_bytes SET bytes = bytes - length(OLD.prompts)
        WHERE principal = {_OF.format(row="OLD")}; END""",
)


def _spelled(column: str) -> str:
    """A model's name with the hub's one spelling: lower case up to the tag, which keeps its own."""
    rest = f"substr({column}, instr({column}, '/') + 1)"
    name = f"substr({rest} || ':', 1, instr({rest} || ':', ':') - 1)"
    tag = f"substr({rest}, length({name}) + 1)"
    return f"'huggingface.co/' || lower({name}) || iif({tag} = ':latest', '', {tag})"


_OTHERWISE = (
    "lower(substr({column}, 1, instr({column}, '/'))) IN"
    " ('hf.co/', 'www.hf.co/', 'www.huggingface.co/', 'huggingface.co/')"
)

SPELLING_STEP = (
    # Models of Hugging Face have one spelling.
    f"UPDATE jobs SET model = {_spelled('model')} WHERE {_OTHERWISE.format(column='model')}",
    f"""UPDATE sessions SET model_name = {_spelled("model_name")}
        WHERE {_OTHERWISE.format(column="model_name")}""",
    "DELETE FROM job_counts",
    """INSERT INTO job_counts (principal, model, state, number)
        SELECT principal, model, state, count(*) FROM jobs GROUP BY principal, model, state""",
)


def _results(table: str, event: str, change: str) -> str:
    moment = "AFTER" if event == "INSERT" else "BEFORE"
    return f"""CREATE TRIGGER {table}_bytes_{event.lower()} {moment} {event} ON {table}
        BEGIN {change} END"""


def _more(length: str) -> str:
    return f"""INSERT INTO job_result_bytes (principal, bytes)
        VALUES ({_OF.format(row="NEW")}, {length})
        ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes;"""


def _less(length: str) -> str:
    return f"""UPDATE job_result_bytes SET bytes = bytes - {length}
        WHERE principal = {_OF.format(row="OLD")};"""


_TEXT, _BODY = "length(CAST({row}.text AS BLOB))", "length({row}.body)"

RESULTS_STEP = (
    # How much of each principal's output and responses is kept.
    """CREATE TABLE job_result_bytes (
        principal TEXT PRIMARY KEY,
        bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    f"""INSERT INTO job_result_bytes (principal, bytes)
        SELECT principal, sum(size) FROM (
            SELECT seq, {_TEXT.format(row="job_output")} AS size FROM job_output
            UNION ALL SELECT seq, {_BODY.format(row="job_responses")} FROM job_responses
        ) JOIN jobs USING (seq) GROUP BY principal""",
    _results("job_output", "INSERT", _more(_TEXT.format(row="NEW"))),
    _results("job_output", "DELETE", _less(_TEXT.format(row="OLD"))),
    _results("job_responses", "INSERT", _more(_BODY.format(row="NEW"))),
    _results("job_responses", "DELETE", _less(_BODY.format(row="OLD"))),
)
