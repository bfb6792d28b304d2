"""Judging: what is known of a picture (`records`), the gates on it (`gates`), and how it is assessed (`assessor`)."""
