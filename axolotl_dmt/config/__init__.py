"""The `dmt:` block: its keys and defaults, and how it becomes resolved stages.

`args.read_config` validates the block. `reading.read_schedule` is the one way from a raw YAML to
its stages: it validates the block, takes the domains of the datasets and Axolotl's own settings,
and resolves the strategy (`resolve.resolve_stages`).
"""
