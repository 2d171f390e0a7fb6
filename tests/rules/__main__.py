"""`python -m tests.rules`: every rule; prints what breaks one and exits with 1."""

from __future__ import annotations

import sys

from tests.rules.circles import circles
from tests.rules.dead_code import unused_code
from tests.rules.documents import (
    drawn_calls,
    drawn_imports,
    front_pages,
    named_classes,
    named_paths,
    rooms_described,
)
from tests.rules.imports import reserved_names
from tests.rules.lookups import lookups
from tests.rules.page import page_files
from tests.rules.shape import lines_of_modules, methods_of_classes, modules_have_tests
from tests.rules.texts import named_encodings
from tests.rules.threads import shared_changes, thread_starts
from tests.rules.words import answers, docstrings, log_subjects, retired_words

RULES = (
    reserved_names,
    circles,
    methods_of_classes,
    lines_of_modules,
    modules_have_tests,
    retired_words,
    docstrings,
    answers,
    log_subjects,
    lookups,
    thread_starts,
    shared_changes,
    named_encodings,
    unused_code,
    page_files,
    named_paths,
    named_classes,
    drawn_calls,
    rooms_described,
    drawn_imports,
    front_pages,
)


def main() -> int:
    """Print each breach; return the exit status."""
    breaches = [sentence for rule in RULES for sentence in rule()]
    print("\n".join(breaches) or f"{len(RULES)} rules kept")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
