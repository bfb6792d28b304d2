"""The way to ComfyUI: `client.ComfyServer` follows one server, `dispatch.Dispatcher` keeps several busy,
`workflow.Workflow` is what they run, `embedded` is a server of our own that speaks the same protocol.
"""
