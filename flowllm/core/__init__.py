"""Types that every layer shares; no I/O, no behaviour beyond their own invariants."""
