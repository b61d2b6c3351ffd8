"""OpenAI's embeddings (`POST /v1/embeddings`): vectors for texts or tokens. Bytes pass unchanged, both ways."""
