"""The neutral form of requests, answers and streams, which is independent of any wire format.

Each format has a reader into this form and a writer from it. So a further format needs one
reader and one writer, and no translation to each of the others. Only requests between two formats use it.
"""
