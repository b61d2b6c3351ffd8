"""Anthropic Messages: all knowledge of this wire format."""
