"""Looking at a batch and deciding: what the page of a review gets, what it writes down, and the server between them."""
