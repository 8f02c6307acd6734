"""Mistakes in a YAML that can be found before a model or data is loaded.

`schedule.check_schedule` collects every mistake in a `dmt:` block and in the Axolotl keys beside
it:

    from axolotl_dmt.checks.schedule import check_schedule

    schedule, mistakes = check_schedule(raw)  # schedule is None if there are mistakes

It calls the checks of `axolotl_keys`, `stages`, `sharding` and `data_files`.
`yaml_check.check_file` adds the line of each mistake, and remarks, for `axolotl dmt check`.
"""
