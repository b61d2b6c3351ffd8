"""The neutral form: what a request, an answer and a stream mean, in the words of no wire format.

Each format reads its own words into this form and writes this form in its own words. So a further format needs one
reader and one writer, and no translation to each of the others. Only requests between two formats take this way.
"""
