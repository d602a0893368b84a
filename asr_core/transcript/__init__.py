"""Words with times and confidence -> txt, srt, vtt and json."""
