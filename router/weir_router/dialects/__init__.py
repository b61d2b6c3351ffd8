"""The wire formats: one folder for each, with all that is known of it, and what they share in `wire`.

`registry` has the formats' records. `serve` reads a caller's request here, `call` speaks to an upstream through it, and
`translate` stands between two formats.
"""
