"""Boxes and runs beside each other: two side by side, many as a table, the yield of a line. Reads stores, folders of
attempts, captures and records; decides nothing about any of them: what each was judged is what it was judged."""
