"""Recipes: small folders from which others can repeat a run.

`export` makes one from a run, `fetch` gets one from a folder, an address or the Hub, `safety`
checks a YAML by an unknown author, and `push` uploads one.
"""
