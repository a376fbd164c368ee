"""The viewer: Perfetto's UI in a browser, with a trace of this machine in it.

ui.perfetto.dev is a page that runs in the browser and uploads nothing. It fetches the trace from a server here, which
gives it to that page only, once, and ends.
"""
