"""Plugins: `loading` finds and registers them, `calls` calls their hooks and checks the answers.

The hooks themselves are specified in `axolotl_dmt.hookspecs`.
"""
