"""What every error of the daemon has: a status, a code, a message and OpenAI's document of it."""

from __future__ import annotations

from typing import ClassVar


class RunnerdError(Exception):
    """Base of the tree.  `retry_after` is in seconds; `should_retry` False tells SDKs not to
    repeat.
    """

    status: int = 500
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.should_retry = should_retry

    def body(self) -> dict[str, dict[str, object]]:
        """OpenAI's error document; routes of other APIs tell it otherwise (`ErrorFormat`)."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    def headers(self) -> dict[str, str]:
        """Return the response headers that belong to this error (Retry-After, x-should-retry)."""
        headers: dict[str, str] = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after)))
        if self.should_retry is not None:
            # Read by OpenAI's and Anthropic's SDKs before their own rule for the status.
            headers["x-should-retry"] = "true" if self.should_retry else "false"
        return headers
