"""Both engines: uv, and pip where uv refuses what pip takes."""

from __future__ import annotations

from dataclasses import replace

from envbuild import target
from envbuild.errors import LockError, UsageError
from envbuild.lock import Lock
from envbuild.model import Notice
from envbuild.progress import Report, Step
from envbuild.question import Question
from envbuild.resolvers.uv import UvResolver, pip_might

_SHOWN = 200


class AutoResolver:
    """Answers questions with uv, else with pip."""

    def resolve(self, question: Question, report: Report) -> Lock:
        """See :class:`envbuild.resolvers.Resolver`; where both fail, uv's error is the one that is raised."""
        try:
            return UvResolver().resolve(question, report)
        except LockError as error:
            if not pip_might(error) or question.target.platform != target.here(question.spec.python.text).platform:
                raise
            refused = error
        from envbuild.resolvers.pip import PipResolver

        report(Step("resolving", "with pip, since uv refuses"))
        try:
            lock = PipResolver().resolve(question, report)
        except (LockError, UsageError) as error:
            refused.details = (*refused.details, f"with pip: {error.message}", *error.details)
            raise refused from error
        message = f"pip is used, since uv refuses: {refused.message[:_SHOWN]}"
        notices = (*lock.origin.notices, Notice(code="engine-pip", message=message))
        return replace(lock, origin=replace(lock.origin, notices=notices))
