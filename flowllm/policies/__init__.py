"""One file per policy: how a call is made. Here are their names alone, for readers that need no more."""

WRITTEN = ("timeout", "cache", "fallback", "retry", "limit", "attempt_timeout")
"""Policies that a node can be given, outermost first."""

SETTABLE = (*WRITTEN, "breaker")
"""Policies that can be set; the others come on by themselves."""

ALWAYS_ON = ("retry", "meter")
"""Policies that every call has without being asked."""
