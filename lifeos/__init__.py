"""The shared ground: what every script stands on. Imports nothing of ours, and only the standard library when imported."""
