"""Endpoints whose requests and answers pass unchanged but for the model's name: images, audio, reranking and others."""
