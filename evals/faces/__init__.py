"""Faces: the engines that find and embed them, and what is the same for every engine."""
