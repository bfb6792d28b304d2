"""Servers that make pictures: `comfyui.ComfyServer` follows one, `dispatch.Dispatcher` keeps several busy."""
