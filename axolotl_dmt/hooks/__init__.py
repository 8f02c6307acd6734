"""Loads plugins and calls their hooks, which `axolotl_dmt.hookspecs` specifies.

`loading` finds and registers plugins: the built-in one, installed packages, and the modules and
files that a YAML names. `calls` calls each hook and checks what the plugins return:

    from axolotl_dmt.hooks.calls import load_hooks, registered_orders

    load_hooks(["my_hooks.py"])
    registered_orders()  # {"short_first": <function>}
"""
