"""Briefings: what a cycle's agent step found, and how it gets into memory and tasks."""
