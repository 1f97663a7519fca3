"""The texts of the files that ``expedition new`` writes."""
