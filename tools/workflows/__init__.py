"""ComfyUI workflows in API format: reading a graph, finding where a setting belongs, writing it there."""
