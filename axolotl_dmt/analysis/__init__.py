"""The analysis of a study: intervals over seeds, fitted curves, the paper's claims, the report.

`report.write_study_report` writes everything from the results of the study's cells (`treatments`).
"""
