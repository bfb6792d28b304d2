"""kohya's sd-scripts: `member.py` is the trainer as the rest of the program sees it."""
