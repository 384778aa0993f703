"""One file per policy: how a call is made."""
