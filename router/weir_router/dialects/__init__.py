"""The wire formats: one folder for each, with all that is known of it, and what they share in `wire`.

`registry` has the formats' records. `serve` reads a caller's request here, and `call` speaks to an upstream through it.
Between two formats stands `neutral`: a request and its answer in the words of none of them.
"""
