"""The loop a user runs: audit the labels, queue the checks, read the answers, apply them."""

from __future__ import annotations

from gssl_poison.review.answers import Answers, read_answers
from gssl_poison.review.applying import apply_answers
from gssl_poison.review.auditing import Audit, audit, audit_problem
from gssl_poison.review.groups import ClassRow, Source
from gssl_poison.review.queue import make_queue, write_queue

__all__ = [
    "Answers",
    "Audit",
    "ClassRow",
    "Source",
    "apply_answers",
    "audit",
    "audit_problem",
    "make_queue",
    "read_answers",
    "write_queue",
]
