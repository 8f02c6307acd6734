"""The statistics and the report of a study.

    results = read_cell_results(Path("outputs/studies/k"))  # package `study`: one CellResult a cell
    write_study_report(results, Path("report"), title="The k sweep")

`treatments.group` groups cells that differ only in the seed into *treatments*, and
`treatments.comparisons` groups treatments that may be compared with each other. On these,
`intervals` gives means over seeds and paired differences, `scaling` fits curves of score by amount
of data, and `claims.judge` returns a verdict on each claim of the paper. `numbers` collects the
results as rows and JSON, `tables`, `plots` and `overview` show them, and
`report.write_study_report` writes it all.
"""
