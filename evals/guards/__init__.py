"""Measures of what must not be published: each finds one thing in a picture, and is off until the policy holds its limit."""
