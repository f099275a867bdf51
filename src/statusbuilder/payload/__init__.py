"""What users hand in becomes JSON here: coerced, redacted, cut, and it never raises."""
