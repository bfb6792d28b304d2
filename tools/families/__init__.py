"""Model families: one table, and for each family the built-in workflow in API format."""
