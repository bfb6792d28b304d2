"""What people's verdicts on pictures say about the limits of the gates."""
