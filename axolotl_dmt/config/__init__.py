"""The `dmt:` block: its keys and defaults, and how it becomes resolved stages.

`reading.read_schedule` is the one way from a raw YAML, as a mapping, to its stages:

    from axolotl_dmt.config.reading import read_schedule

    reading = read_schedule(raw)
    reading.mistakes()         # every mistake, as a list of DMTError
    reading.schedule().stages  # the resolved stages; raises DMTError if there is a mistake

It validates the block (`args.read_config`), reads the domains of the datasets and Axolotl's own
settings, and resolves the strategy (`resolve.resolve_stages`). `args`, `evaluate_args` and
`replay_args` define the keys of the block, and `json_schema` describes them for editors.
"""
