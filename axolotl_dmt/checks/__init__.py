"""Mistakes in a YAML that can be found before a model or data is loaded.

`schedule.check_schedule` collects every mistake in a `dmt:` block and in the Axolotl keys beside
it:

    from axolotl_dmt.checks.schedule import check_schedule

    schedule, mistakes = check_schedule(raw)  # schedule is None if there are mistakes

It calls the checks of `axolotl_keys`, `stages`, `sharding` and `data_files`.
`evaluation_files` reads the files of `dmt.evaluate` whole and holds their prompts against the
model's context. `prompts` compares the formats that a run is trained and asked in.
`yaml_check.check_file` adds the line of each mistake, and remarks, for `axolotl dmt check`.
"""
