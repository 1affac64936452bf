"""The parts of `zoo_table.py`: networks, their exporters, the tools, the results, the table."""
