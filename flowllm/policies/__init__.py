"""One file per policy: how a call is made. Here are their names alone, for readers that need no more."""

WRITTEN = ("timeout", "cache", "fallback", "retry", "limit", "attempt_timeout")
"""Policies that a node can be given, outermost first."""

ALWAYS_ON = ("retry", "meter")
"""Policies that every call has without being asked."""
