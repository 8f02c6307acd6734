"""Mistakes in a YAML that can be found before a model or data is loaded.

`schedule.check_schedule` collects every mistake of a `dmt:` block and of the Axolotl keys beside
it. `yaml_check.check_file` adds the line of each mistake, for `axolotl dmt check`.
"""
