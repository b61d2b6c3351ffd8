"""The wire formats: one folder for each, with all knowledge of it, and their common parts in `wire`.

`registry` has the formats' records. `serve` reads a caller's request here, and `call` speaks to an upstream through it.
Translation between two formats goes through `neutral`, a form of requests and answers that belongs to no format.
"""
