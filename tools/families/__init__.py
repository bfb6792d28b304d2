"""Model families: the table in `families.py`, and for each family its built-in workflow in API format."""
