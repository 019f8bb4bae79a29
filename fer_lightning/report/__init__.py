"""The report: the poster's figures and tables, from the runs and searches themselves, on one page."""
