"""A run's results for people: a terminal table, Markdown, pictures, HTML and a model card.

`view.ReportView` computes once what every form shows; `write.write_report` writes the files.
"""
