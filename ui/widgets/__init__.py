"""What tabs share on the page: timeline, words, tables, controls, theme."""
