"""Stands for a package that the trainer imports: it is only looked for."""
