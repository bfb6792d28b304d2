"""The pages that LifeOS writes and serves: their templates, their look and their scripts, with nothing built and nothing fetched."""
