"""The whole cycle: the table of its steps (`steps`), running them (`process`, `cycle`), and what is left behind (`record`)."""
