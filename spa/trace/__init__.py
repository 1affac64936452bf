"""Two interpreters of one set of rules: `Collect` finds the channels, `Check` proves the cut."""
