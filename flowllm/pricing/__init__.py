"""Usage and prices to itemised cost: pure."""
