"""Stands in for Hugging Face's accelerate, of which the trainer needs the launcher only."""
