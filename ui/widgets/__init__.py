"""The parts that tabs share: timeline, words, tables, controls, notices, theme."""
