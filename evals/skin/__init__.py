"""Skin realism: where a face shows skin (`regions`), and how real its texture and colour are (`realism`)."""
