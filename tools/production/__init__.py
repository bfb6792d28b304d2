"""From prompts to approved pictures: `plan` what to make, `runner.run_batch` makes, scores and files it, `batch_report` tells.

Every arrow leaves a record in the batch directory first, so that any step can be killed and the same command continues.
"""
